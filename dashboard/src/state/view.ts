/** What the viewer chose that is nobody else's business: it lives no longer than the page. */
import { create } from "zustand";

import type { DeadLetterSource } from "./address";

interface ViewState {
  paused: boolean;
  setPaused: (paused: boolean) => void;
  helpShown: boolean;
  showHelp: (shown: boolean) => void;
  /** What the viewer is about to send once more; null: nothing. */
  replay: ReplayDraft | null;
  openReplay: (draft: ReplayDraft | null) => void;
}

/** Which stored events or dead letters; what is null is any. */
export interface ReplayDraft {
  what: "events" | "dead_letters";
  filter: {
    source: DeadLetterSource | null;
    type?: string | null;
    order_id?: string | null;
    field?: string | null;
    reason?: string | null;
    since: string | null;
    until: string | null;
  };
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
  replay: null,
  openReplay: (replay) => {
    set({ replay });
  },
}));
