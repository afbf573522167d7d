/** The addresses of the API: from the server at run time, else from the build, else the local default. */

declare global {
  interface Window {
    /** Set by /config.js. The server may generate that file, because some addresses are known only at run time. */
    heliosConfig?: { apiUrl?: string; wsUrl?: string };
  }
}

const atRunTime = window.heliosConfig ?? {};
const env = import.meta.env as { VITE_API_URL?: string; VITE_WS_URL?: string };

/** Without a trailing slash. */
export const API_URL = (atRunTime.apiUrl ?? env.VITE_API_URL ?? "http://localhost:8001").replace(/\/+$/, "");

export const WS_URL =
  atRunTime.wsUrl ?? env.VITE_WS_URL ?? `${API_URL.replace(/^http/, "ws")}/api/v1/ws/events`;
