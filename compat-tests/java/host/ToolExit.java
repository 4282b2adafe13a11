import java.util.List;

import org.apache.kafka.common.utils.Exit;

/** Kafka's tools end through `Exit`: here that ends the tool only. Compiled against the version of the tools. */
final class ToolExit {

    private ToolExit() {
    }

    /** Turns the end of the process into {@link ToolHost.Ended}, and collects shutdown hooks instead of registering them. */
    static void intercept(List<Runnable> hooks) {
        Exit.setExitProcedure((status, message) -> {
            throw new ToolHost.Ended(status);
        });
        Exit.setHaltProcedure((status, message) -> {
            throw new ToolHost.Ended(status);
        });
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
    }
}
