/** Where the API is: said by the server at run time, else at build time, else the local one. */

declare global {
  interface Window {
    /** Written by /config.js, which the server may answer itself: some addresses are known only once all runs. */
    heliosConfig?: { apiUrl?: string; wsUrl?: string };
  }
}

const atRunTime = window.heliosConfig ?? {};
const env = import.meta.env as { VITE_API_URL?: string; VITE_WS_URL?: string };

/** Without a slash at its end. */
export const API_URL = (atRunTime.apiUrl ?? env.VITE_API_URL ?? "http://localhost:8001").replace(/\/+$/, "");

export const WS_URL =
  atRunTime.wsUrl ?? env.VITE_WS_URL ?? `${API_URL.replace(/^http/, "ws")}/api/v1/ws/events`;
