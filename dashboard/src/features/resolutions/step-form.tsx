import { useState, type ReactNode } from "react";

import { NEED_TEXT, STEP_NAMES, STEPS, type Step } from "@/lib/resolutions";
import { Button } from "@/ui/button";
import { Refusal } from "@/ui/refusal";
import { Segments } from "@/ui/segments";

import { useResolve, type ResolutionAction, type ResolutionRequest } from "./api";

interface StepFormProps {
  /** Which flow instances. */
  target: Pick<ResolutionRequest, "instances" | "filter">;
  /** The label of the button, for a step. */
  submit: (name: string) => string;
  disabled?: boolean;
  onDone?: (action: ResolutionAction) => void;
}

const CHOICES = STEPS.map((step) => [step, STEP_NAMES[step]] as const);

/** Takes one step for flow instances: the viewer chooses it, and gives a reason, a note or a person. */
export function StepForm({ target, submit, disabled = false, onDone }: StepFormProps): ReactNode {
  const [step, setStep] = useState<Step>("accept");
  const [text, setText] = useState("");
  const { mutate, isPending, error } = useResolve();
  const needed = NEED_TEXT.includes(step);
  const label = step === "assign" ? "Person" : step === "note" ? "Note" : "Reason";
  return (
    <form
      aria-label="Resolve"
      className="flex flex-col gap-2.5 text-[13px]"
      onSubmit={(event) => {
        event.preventDefault();
        mutate(requestOf(target, step, text.trim()), {
          onSuccess: (action) => {
            setText("");
            onDone?.(action);
          },
        });
      }}
    >
      <div className="overflow-x-auto">
        <Segments label="Step" value={step} choices={CHOICES} onChange={setStep} />
      </div>
      <label className="flex flex-col gap-1.5 font-medium">
        {label}
        <input
          value={text}
          required={needed}
          maxLength={step === "assign" ? 128 : 2000}
          placeholder={step === "assign" ? "Nobody" : undefined}
          onChange={(event) => {
            setText(event.target.value);
          }}
          className="h-8 rounded-lg border border-edge bg-panel px-2.5 font-normal"
        />
      </label>
      <Button look="filled" type="submit" className="self-start" disabled={disabled || isPending}>
        {submit(STEP_NAMES[step])}
      </Button>
      {error && <Refusal error={error} scope="resolve" />}
    </form>
  );
}

function requestOf(target: StepFormProps["target"], step: Step, text: string): ResolutionRequest {
  const value = text || null;
  return { ...target, step, text: step === "assign" ? null : value, assignee: step === "assign" ? value : null, dry_run: false };
}
