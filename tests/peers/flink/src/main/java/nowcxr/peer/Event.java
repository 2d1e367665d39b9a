// One row of the benchmark's file, and how Flink carries it: 21 bytes, written by hand. Flink's
// serialiser for such classes would box every field.
package nowcxr.peer;

import java.io.IOException;
import org.apache.flink.api.common.typeutils.SimpleTypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;

public final class Event {
    static final long HOUR_MS = 3_600_000L;

    /** Variables that the benchmark's files know; a row with another one is an error here. */
    static final int VARIABLES = 17;

    int stay;
    byte variable;
    long at;
    double value;

    /** The first moment after the event's hour. */
    long end() {
        return (Math.floorDiv(at, HOUR_MS) + 1) * HOUR_MS;
    }

    /** A film is variable 16 at 115 or more. */
    boolean isFilm() {
        return variable == 16 && value >= 115.0;
    }

    void copyFrom(Event other) {
        stay = other.stay;
        variable = other.variable;
        at = other.at;
        value = other.value;
    }

    static final class Serializer extends Binary<Event> {
        @Override
        public Event createInstance() {
            return new Event();
        }

        @Override
        public Event copy(Event from, Event to) {
            to.copyFrom(from);
            return to;
        }

        @Override
        public void serialize(Event event, DataOutputView out) throws IOException {
            out.writeInt(event.stay);
            out.writeByte(event.variable);
            out.writeLong(event.at);
            out.writeDouble(event.value);
        }

        @Override
        public Event deserialize(Event event, DataInputView in) throws IOException {
            event.stay = in.readInt();
            event.variable = in.readByte();
            event.at = in.readLong();
            event.value = in.readDouble();
            return event;
        }

        @Override
        public TypeSerializerSnapshot<Event> snapshotConfiguration() {
            return new Snapshot();
        }

        public static final class Snapshot extends SimpleTypeSerializerSnapshot<Event> {
            public Snapshot() {
                super(Serializer::new);
            }
        }
    }
}
