/** Choices of the viewer that are not shared. They last until the page closes. */
import { create } from "zustand";

import type { Source } from "@/lib/sources";

interface ViewState {
  paused: boolean;
  setPaused: (paused: boolean) => void;
  helpShown: boolean;
  showHelp: (shown: boolean) => void;
  /** The replay that the dialog prepares; null: the dialog is closed. */
  replay: ReplayDraft | null;
  openReplay: (draft: ReplayDraft | null) => void;
}

/** The events or dead letters to replay; null: any. */
export interface ReplayDraft {
  what: "events" | "dead_letters";
  filter: {
    /** A source, or `unknown`. */
    source: Source | null;
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
