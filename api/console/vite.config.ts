import { defineConfig } from "vitest/config";

// In development the API runs elsewhere; its cookie works through this proxy, because both share one origin.
const api = process.env.ORCHESTRATION_URL ?? "http://127.0.0.1:8080";

export default defineConfig({
  // A page of the console may be at any depth, so the assets have absolute paths.
  base: "/",
  build: {
    target: "es2023",
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    assetsDir: "assets",
    // Content security policy: nothing is inlined as a data URL.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  worker: { format: "es" },
  server: { proxy: { "/api": { target: api, changeOrigin: true } } },
  // The limit ends what hangs; a busy machine may need long for what is quick elsewhere.
  test: { include: ["src/**/*.test.ts"], css: true, testTimeout: 60_000 },
});
