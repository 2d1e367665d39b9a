// The whole series since the last film for every closed hour of a stay. The timer of an hour's end
// is asked for once, with its first event.
package nowcxr.peer;

import java.util.ArrayList;
import java.util.List;
import org.apache.flink.api.common.accumulators.LongCounter;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

abstract class SinceFilm extends KeyedProcessFunction<Integer, Event, Emission> {
    private final LongCounter late = new LongCounter();
    /** Events since the last emission, of whichever stay. */
    private long accepted;
    /** One for all emissions. */
    transient Emission emission;

    @Override
    public void open(OpenContext context) {
        emission = new Emission();
        getRuntimeContext().addAccumulator("late", late);
    }

    /** Takes an event of an open hour; whether the hour's timer must be set. */
    abstract boolean take(Event event, long end) throws Exception;

    /** Reads the series up to `end` into the emission. */
    abstract void close(long end) throws Exception;

    @Override
    public void processElement(Event event, Context context, Collector<Emission> out)
            throws Exception {
        long end = event.end();
        if (end - 1 <= context.timerService().currentWatermark()) {
            late.add(1L);
            return;
        }
        accepted++;
        if (take(event, end)) {
            context.timerService().registerEventTimeTimer(end - 1);
        }
    }

    @Override
    public void onTimer(long at, OnTimerContext context, Collector<Emission> out)
            throws Exception {
        close(at + 1);
        emission.accepted = accepted;
        accepted = 0;
        out.collect(emission);
    }

    /** On the heap, where a value is changed in place: columns. */
    static final class OnHeap extends SinceFilm {
        private transient ValueState<Series> series;

        @Override
        public void open(OpenContext context) {
            super.open(context);
            series = getRuntimeContext()
                    .getState(new ValueStateDescriptor<>("series", Series.class));
        }

        @Override
        boolean take(Event event, long end) throws Exception {
            Series held = series.value();
            if (held == null) {
                held = new Series();
                series.update(held);
            }
            held.take(event);
            return held.opens(end);
        }

        @Override
        void close(long end) throws Exception {
            series.value().close(end, emission);
        }
    }

    /** In RocksDB, where a list is appended to without being read: one entry for each event. */
    static final class Stored extends SinceFilm {
        private transient ListState<Event> events;
        /** The series that is read, one for all stays. */
        private transient Series series;

        @Override
        public void open(OpenContext context) {
            super.open(context);
            series = new Series();
            events = getRuntimeContext()
                    .getListState(new ListStateDescriptor<>("events", Rows.TYPE));
        }

        @Override
        boolean take(Event event, long end) throws Exception {
            events.add(event);
            return true;
        }

        @Override
        void close(long end) throws Exception {
            series.clear();
            for (Event event : events.get()) {
                series.take(event);
            }
            if (!series.close(end, emission)) {
                return;
            }
            List<Event> left = new ArrayList<>(series.length());
            for (int i = 0; i < series.length(); i++) {
                Event event = new Event();
                series.get(i, event);
                left.add(event);
            }
            events.update(left);
        }
    }
}
