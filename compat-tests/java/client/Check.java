import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.function.BooleanSupplier;

/** What the scenarios state, and how they wait. */
final class Check {

    /** Bounds a hang; no scenario measures time. */
    static final long PATIENCE_MS = 60_000;

    private Check() {
    }

    static void that(boolean holds, String what) {
        if (!holds)
            throw new AssertionError(what);
    }

    static void same(Object expected, Object seen, String what) {
        that(Objects.equals(expected, seen), what + ": expected " + expected + ", saw " + seen);
    }

    /** Runs `step` until `done`. */
    static void until(String what, Runnable step, BooleanSupplier done) {
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        while (!done.getAsBoolean()) {
            that(System.currentTimeMillis() < deadline, "waited in vain for " + what);
            step.run();
        }
    }

    /** The call must fail with this exception, bare or as the cause of an ExecutionException; returns it. */
    static <E extends Throwable> E fails(Class<E> expected, Callable<?> call) throws Exception {
        Throwable seen;
        try {
            Object result = call.call();
            throw new AssertionError("expected " + expected.getSimpleName() + ", got " + result);
        } catch (ExecutionException e) {
            seen = e.getCause();
        } catch (Exception e) {
            seen = e;
        }
        if (!expected.isInstance(seen))
            throw new AssertionError("expected " + expected.getSimpleName() + ", saw " + seen, seen);
        return expected.cast(seen);
    }
}
