import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;

/**
 * Runs main classes one after the other in one JVM, each with a standard input, output and error of its own.
 * The conversation with the other end is described in harness/jvm.py. With the argument `tools`, Kafka's tools can end
 * themselves without ending the JVM.
 */
public final class ToolHost {

    /** Thrown where a tool wants to end the process. Tools that catch everything exit again: the first status counts. */
    static final class Ended extends Error {
        private static final long serialVersionUID = 1;

        Ended(int status) {
            ENDED.compareAndSet(null, status);
        }
    }

    private static final AtomicReference<Integer> ENDED = new AtomicReference<>();

    /** An output whose destination changes from run to run: libraries keep the System.out they saw first. */
    private static final class Redirected extends OutputStream {
        private ByteArrayOutputStream destination = new ByteArrayOutputStream();

        synchronized void fresh() {
            destination = new ByteArrayOutputStream();
        }

        synchronized byte[] taken() {
            return destination.toByteArray();
        }

        @Override
        public synchronized void write(int b) {
            destination.write(b);
        }

        @Override
        public synchronized void write(byte[] bytes, int from, int length) {
            destination.write(bytes, from, length);
        }
    }

    private static final Redirected OUT = new Redirected();
    private static final Redirected ERR = new Redirected();
    private static final List<Runnable> HOOKS = new ArrayList<>();

    public static void main(String[] args) throws IOException {
        BufferedReader commands = new BufferedReader(new InputStreamReader(new FileInputStream(FileDescriptor.in), StandardCharsets.US_ASCII));
        PrintStream answers = new PrintStream(new FileOutputStream(FileDescriptor.out), true);
        System.setOut(new PrintStream(OUT, true));
        System.setErr(new PrintStream(ERR, true));
        if (args.length > 0 && args[0].equals("tools"))
            ToolExit.intercept(HOOKS);
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            String[] fields = line.split(" ");
            String[] arguments = new String[fields.length - 2];
            for (int i = 0; i < arguments.length; i++)
                arguments[i] = new String(decode(fields[i + 2]), StandardCharsets.UTF_8);
            int status = run(fields[0], arguments, new ByteArrayInputStream(decode(fields[1])));
            answers.println(status + " " + encode(OUT.taken()) + " " + encode(ERR.taken()));
        }
        Runtime.getRuntime().halt(0);
    }

    /** Runs one main class; what it registered as shutdown hooks runs when it has ended, as it would with the process. */
    private static int run(String main, String[] arguments, InputStream in) {
        OUT.fresh();
        ERR.fresh();
        HOOKS.clear();
        ENDED.set(null);
        System.setIn(in);
        int status = 0;
        try {
            Class.forName(main).getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException e) {
            status = statusOf(e.getCause());
        } catch (ReflectiveOperationException e) {
            status = statusOf(e);
        }
        for (Runnable hook : HOOKS) {
            try {
                hook.run();
            } catch (Ended ended) {
                // A hook cannot change the status.
            }
        }
        System.out.flush();
        System.err.flush();
        return status;
    }

    private static int statusOf(Throwable thrown) {
        if (ENDED.get() != null)
            return ENDED.get();
        thrown.printStackTrace();
        return 1;
    }

    private static byte[] decode(String field) {
        return Base64.getDecoder().decode(field.substring(1));
    }

    private static String encode(byte[] bytes) {
        return "=" + Base64.getEncoder().encodeToString(bytes);
    }
}
