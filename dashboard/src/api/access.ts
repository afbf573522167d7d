/** The API token. The tab stores it until it closes; it never appears in a URL. */
import { create } from "zustand";

const KEY = "helios.token";

interface AccessState {
  token: string | null;
  /** Why the API rejected the last request; null while no new token is needed. */
  refusal: string | null;
  requestToken: (reason: string) => void;
  setToken: (token: string) => void;
}

export const useAccess = create<AccessState>((set) => ({
  token: sessionStorage.getItem(KEY),
  refusal: null,
  requestToken: (refusal) => {
    set({ refusal });
  },
  setToken: (token) => {
    sessionStorage.setItem(KEY, token);
    set({ token, refusal: null });
  },
}));
