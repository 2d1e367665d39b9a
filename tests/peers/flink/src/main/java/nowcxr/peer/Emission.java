// What one closed hour of a stay emits.
package nowcxr.peer;

public final class Emission {
    public long sumMilli;
    public long accepted;
    public long reads;
}
