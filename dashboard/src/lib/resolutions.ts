/** The terms of resolutions, in display order. */
export const RESOLUTION_STATES = ["unresolved", "reopened", "accepted", "written_off"] as const;
export type ResolutionState = (typeof RESOLUTION_STATES)[number];

export const RESOLUTION_NAMES: Record<ResolutionState, string> = {
  unresolved: "Unresolved",
  reopened: "Reopened",
  accepted: "Accepted",
  written_off: "Written off",
};

export const STEPS = ["accept", "write_off", "reopen", "assign", "note"] as const;
export type Step = (typeof STEPS)[number];

export const STEP_NAMES: Record<Step, string> = {
  accept: "Accept",
  write_off: "Write off",
  reopen: "Reopen",
  assign: "Assign",
  note: "Add a note",
};

/** What an actor did, after the name of the actor. */
export const STEP_DONE: Record<Step | "undo", string> = {
  accept: "accepted it",
  write_off: "wrote it off",
  reopen: "reopened it",
  assign: "assigned it",
  note: "noted",
  undo: "undid a step",
};

/** The steps that the API refuses without a text. */
export const NEED_TEXT: readonly Step[] = ["accept", "write_off", "note"];
