/** The token that the API is asked with, where it takes one: kept as long as the tab, and in no address. */
import { create } from "zustand";

const KEY = "helios.token";

interface AccessState {
  token: string | null;
  /** Why the API wants another one; null while it does not. */
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
