// An API of the test's own, on the same database, which can be stopped and started again.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";

const START_MILLIS = 60_000;

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** It starts with these settings, unless it is started with others. */
export async function ownApi(own = {}) {
  const port = await freePort();
  const address = `http://127.0.0.1:${port}`;
  let child = null;
  const start = async (settings = own) => {
    child = spawn(process.env.CONSOLE_API_PROGRAM, ["serve", "--listen", `127.0.0.1:${port}`], {
      env: { ...process.env, ...settings },
      stdio: "ignore",
    });
    const deadline = Date.now() + START_MILLIS;
    while (Date.now() < deadline) {
      const ready = await fetch(`${address}/readyz`).catch(() => null);
      if (ready?.ok) return;
      if (child.exitCode !== null) throw new Error(`the API has ended with ${child.exitCode}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error("the API is not ready in time");
  };
  const stop = async () => {
    if (child === null || child.exitCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  };
  await start();
  return { address, start, stop };
}
