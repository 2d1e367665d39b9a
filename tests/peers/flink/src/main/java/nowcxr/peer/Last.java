// The last value of each variable in one hour of a stay: the accumulator of Flink's own window
// operator, changed in place. Stored, it is a mask and the variables that have a value.
package nowcxr.peer;

import java.io.IOException;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeutils.SimpleTypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;

public final class Last {
    static final TypeInformation<Last> TYPE = new Binary.Type<>(Last.class, new Serializer());

    private int seen;
    private int accepted;
    private final long[] at = new long[Event.VARIABLES];
    private final double[] value = new double[Event.VARIABLES];

    /** Of equal times the later arrival. */
    void take(Event event) {
        int variable = event.variable;
        int bit = 1 << variable;
        if ((seen & bit) == 0 || event.at >= at[variable]) {
            seen |= bit;
            at[variable] = event.at;
            value[variable] = event.value;
        }
        accepted++;
    }

    Emission emission() {
        Emission emission = new Emission();
        long sum = 0;
        for (int bits = seen; bits != 0; bits &= bits - 1) {
            sum += Math.round(value[Integer.numberOfTrailingZeros(bits)] * 1000);
        }
        emission.sumMilli = sum;
        emission.accepted = accepted;
        return emission;
    }

    static final class Aggregate implements AggregateFunction<Event, Last, Emission> {
        @Override
        public Last createAccumulator() {
            return new Last();
        }

        @Override
        public Last add(Event event, Last last) {
            last.take(event);
            return last;
        }

        @Override
        public Emission getResult(Last last) {
            return last.emission();
        }

        @Override
        public Last merge(Last a, Last b) {
            throw new UnsupportedOperationException("hours do not merge");
        }
    }

    static final class Serializer extends Binary<Last> {
        @Override
        public Last createInstance() {
            return new Last();
        }

        @Override
        public Last copy(Last from, Last to) {
            to.seen = from.seen;
            to.accepted = from.accepted;
            System.arraycopy(from.at, 0, to.at, 0, Event.VARIABLES);
            System.arraycopy(from.value, 0, to.value, 0, Event.VARIABLES);
            return to;
        }

        @Override
        public void serialize(Last last, DataOutputView out) throws IOException {
            out.writeInt(last.seen);
            out.writeInt(last.accepted);
            for (int bits = last.seen; bits != 0; bits &= bits - 1) {
                int variable = Integer.numberOfTrailingZeros(bits);
                out.writeLong(last.at[variable]);
                out.writeDouble(last.value[variable]);
            }
        }

        @Override
        public Last deserialize(Last last, DataInputView in) throws IOException {
            last.seen = in.readInt();
            last.accepted = in.readInt();
            for (int bits = last.seen; bits != 0; bits &= bits - 1) {
                int variable = Integer.numberOfTrailingZeros(bits);
                last.at[variable] = in.readLong();
                last.value[variable] = in.readDouble();
            }
            return last;
        }

        @Override
        public TypeSerializerSnapshot<Last> snapshotConfiguration() {
            return new Snapshot();
        }

        public static final class Snapshot extends SimpleTypeSerializerSnapshot<Last> {
            public Snapshot() {
                super(Serializer::new);
            }
        }
    }
}
