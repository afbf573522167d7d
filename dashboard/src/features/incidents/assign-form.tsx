import { useState, type ReactNode } from "react";

import { Button } from "@/ui/button";
import { Refusal } from "@/ui/refusal";

import { useIncidentAction, type Incident } from "./api";

/** Assigns an incident to a person, or to nobody if the field is empty. */
export function AssignForm({ incident, onDone }: { incident: Incident; onDone: () => void }): ReactNode {
  const { mutate, isPending, error } = useIncidentAction(incident.id);
  const [person, setPerson] = useState(incident.assignee ?? "");
  return (
    <form
      aria-label={`Assign ${incident.title}`}
      className="mt-2 flex flex-wrap items-center gap-2"
      onSubmit={(event) => {
        event.preventDefault();
        mutate({ name: "assign", body: { assignee: person.trim() || null } }, { onSuccess: onDone });
      }}
    >
      <label className="flex items-center gap-2 font-medium">
        Person
        <input
          value={person}
          maxLength={128}
          placeholder="Nobody"
          // The viewer has just asked for this field.
          // eslint-disable-next-line jsx-a11y/no-autofocus
          autoFocus
          onChange={(event) => {
            setPerson(event.target.value);
          }}
          className="h-8 rounded-lg border border-edge bg-panel px-2.5 font-normal"
        />
      </label>
      <Button look="filled" type="submit" disabled={isPending}>
        Save
      </Button>
      {error && <Refusal error={error} scope="resolve" />}
    </form>
  );
}
