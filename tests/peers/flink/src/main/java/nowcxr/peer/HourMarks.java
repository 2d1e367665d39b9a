// The benchmark's watermark: the newest event time less 5 min, over all stays, at every event. It
// is emitted only where an hour closes by it, since nothing changes between. Flink's watermark of
// W says that nothing at or before W comes any more, hence the millisecond less.
package nowcxr.peer;

import org.apache.flink.api.common.eventtime.Watermark;
import org.apache.flink.api.common.eventtime.WatermarkGenerator;
import org.apache.flink.api.common.eventtime.WatermarkOutput;

final class HourMarks implements WatermarkGenerator<Event> {
    private static final long DISORDER_MS = 300_000L;

    private long nextEnd = Long.MIN_VALUE;

    @Override
    public void onEvent(Event event, long at, WatermarkOutput output) {
        long watermark = at - DISORDER_MS;
        if (watermark < nextEnd) {
            return;
        }
        long hour = Math.floorDiv(watermark, Event.HOUR_MS) * Event.HOUR_MS;
        nextEnd = hour + Event.HOUR_MS;
        output.emitWatermark(new Watermark(hour - 1));
    }

    @Override
    public void onPeriodicEmit(WatermarkOutput output) {}
}
