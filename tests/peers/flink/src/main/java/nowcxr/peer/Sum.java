// Adds up what closed hours emit, in accumulators that the job's result brings back.
package nowcxr.peer;

import org.apache.flink.api.common.accumulators.LongCounter;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.util.Collector;

final class Sum extends ProcessFunction<Emission, Long> {
    private final LongCounter outputs = new LongCounter();
    private final LongCounter accepted = new LongCounter();
    private final LongCounter sumMilli = new LongCounter();
    private final LongCounter reads = new LongCounter();

    @Override
    public void open(OpenContext context) {
        getRuntimeContext().addAccumulator("outputs", outputs);
        getRuntimeContext().addAccumulator("accepted", accepted);
        getRuntimeContext().addAccumulator("sum_milli", sumMilli);
        getRuntimeContext().addAccumulator("reads", reads);
    }

    @Override
    public void processElement(Emission emission, Context context, Collector<Long> out) {
        outputs.add(1L);
        accepted.add(emission.accepted);
        sumMilli.add(emission.sumMilli);
        reads.add(emission.reads);
    }

    /** Counts events whose hour was closed. */
    static final class Late extends ProcessFunction<Event, Long> {
        private final LongCounter late = new LongCounter();

        @Override
        public void open(OpenContext context) {
            getRuntimeContext().addAccumulator("late", late);
        }

        @Override
        public void processElement(Event event, Context context, Collector<Long> out) {
            late.add(1L);
        }
    }
}
