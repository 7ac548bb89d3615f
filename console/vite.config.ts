import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// In development the hub on this machine serves everything but the console itself.
const hub = "http://localhost:8480";

export default defineConfig({
  plugins: [react()],
  build: {
    target: "es2022",
    // The content security policy allows no data: addresses, so nothing is inlined.
    assetsInlineLimit: 0,
  },
  server: {
    proxy: Object.fromEntries(
      ["/api", "/media", "/oauth2", "/sign-in", "/sign-out", "/reference", "/settings.json", "/.well-known"].map((path) => [path, hub]),
    ),
  },
  // The contrast of the colours is computed from the file that has them.
  test: { environment: "jsdom", css: { include: /tokens\.css/ } },
});
