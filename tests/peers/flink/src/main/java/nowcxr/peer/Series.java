// The events of one stay since its last film, in arrival order, in columns without boxes.
package nowcxr.peer;

import java.util.Arrays;

public final class Series {
    private int n;
    private long[] at = new long[32];
    private double[] value = new double[32];
    private byte[] variable = new byte[32];
    /** Times of films that are not before the end of a closed hour yet. */
    private long[] films = new long[4];
    private int filmsOpen;
    /** Ends of open hours with an event. */
    private long[] ends = new long[4];
    private int endsOpen;
    private final long[] lastAt = new long[Event.VARIABLES];
    private final double[] last = new double[Event.VARIABLES];

    void take(Event event) {
        if (n == at.length) {
            at = Arrays.copyOf(at, n * 2);
            value = Arrays.copyOf(value, n * 2);
            variable = Arrays.copyOf(variable, n * 2);
        }
        at[n] = event.at;
        value[n] = event.value;
        variable[n] = event.variable;
        n++;
        if (event.isFilm()) {
            if (filmsOpen == films.length) {
                films = Arrays.copyOf(films, filmsOpen * 2);
            }
            films[filmsOpen++] = event.at;
        }
    }

    /** Notes the end of an event's hour; whether it is the first event of it. */
    boolean opens(long end) {
        for (int i = 0; i < endsOpen; i++) {
            if (ends[i] == end) {
                return false;
            }
        }
        if (endsOpen == ends.length) {
            ends = Arrays.copyOf(ends, endsOpen * 2);
        }
        ends[endsOpen++] = end;
        return true;
    }

    /** Reads the series up to `end`; whether a newer film made rows leave before. */
    boolean close(long end, Emission emission) {
        boolean evicted = settle(end);
        int seen = 0;
        long reads = 0;
        for (int i = 0; i < n; i++) {
            if (at[i] >= end) {
                continue;
            }
            reads++;
            int of = variable[i];
            int bit = 1 << of;
            if ((seen & bit) == 0 || at[i] >= lastAt[of]) {
                seen |= bit;
                lastAt[of] = at[i];
                last[of] = value[i];
            }
        }
        long sum = 0;
        for (int bits = seen; bits != 0; bits &= bits - 1) {
            sum += Math.round(last[Integer.numberOfTrailingZeros(bits)] * 1000);
        }
        emission.sumMilli = sum;
        emission.reads = reads;
        return evicted;
    }

    /** The newest film before `end` is the last one: rows up to it leave. */
    private boolean settle(long end) {
        int left = 0;
        for (int i = 0; i < endsOpen; i++) {
            if (ends[i] != end) {
                ends[left++] = ends[i];
            }
        }
        endsOpen = left;
        long film = Long.MIN_VALUE;
        left = 0;
        for (int i = 0; i < filmsOpen; i++) {
            if (films[i] < end) {
                film = Math.max(film, films[i]);
            } else {
                films[left++] = films[i];
            }
        }
        filmsOpen = left;
        if (film == Long.MIN_VALUE) {
            return false;
        }
        left = 0;
        for (int i = 0; i < n; i++) {
            if (at[i] > film) {
                at[left] = at[i];
                value[left] = value[i];
                variable[left] = variable[i];
                left++;
            }
        }
        n = left;
        return true;
    }

    void clear() {
        n = 0;
        filmsOpen = 0;
        endsOpen = 0;
    }

    int length() {
        return n;
    }

    /** Puts row `i` into `event`. */
    void get(int i, Event event) {
        event.at = at[i];
        event.value = value[i];
        event.variable = variable[i];
    }
}
