// How the page is built: one entry, screens as chunks of their own, nothing inline (the server's policy forbids it).

import { fileURLToPath } from "node:url";

import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const server = "http://127.0.0.1:7777";

export default defineConfig({
  base: "/web/",
  plugins: [react()],
  resolve: {
    alias: { "stable-core": fileURLToPath(new URL("../js/stable-core.js", import.meta.url)) },
    dedupe: ["socket.io-client"], // which the SDK imports, though it lies outside of this folder
  },
  build: { assetsInlineLimit: 0, modulePreload: { polyfill: false }, target: "es2022" },
  server: { proxy: { "/artifacts": server, "/api": server, "/healthz": server, "/socket.io": { target: server, ws: true } } },
});
