/** What the viewer chose that is nobody else's business: it lives no longer than the page. */
import { create } from "zustand";

interface ViewState {
  paused: boolean;
  setPaused: (paused: boolean) => void;
  helpShown: boolean;
  showHelp: (shown: boolean) => void;
}

export const useView = create<ViewState>((set) => ({
  paused: false,
  setPaused: (paused) => {
    set({ paused });
  },
  helpShown: false,
  showHelp: (helpShown) => {
    set({ helpShown });
  },
}));
