import { useId, useState, type ReactNode } from "react";

import { texts } from "../ui/texts";
import { isThingName, thingNameOf } from "./names";
import { useGroups, type Decision } from "./queries";

const words = texts.register;

interface Props {
  readonly decide: (decision: Decision) => void;
  readonly isBusy: boolean;
  readonly problem: string | undefined;
}

/** Gives the camera its name, and lets it in or denies it. */
export function DecisionForm({ decide, isBusy, problem }: Props): ReactNode {
  const [name, setName] = useState("");
  const [thing, setThing] = useState<string | undefined>();
  const [groups, setGroups] = useState<readonly string[]>([]);
  const [wrong, setWrong] = useState<string | undefined>();
  const thingName = thing ?? thingNameOf(name);
  const approve = (): void => {
    if (name.trim() === "") setWrong(words.errors.nameMissing);
    else if (!isThingName(thingName)) setWrong(words.errors.thingForm);
    else {
      setWrong(undefined);
      decide({ decision: "approve", thingName, displayName: name.trim(), groups: [...groups] });
    }
  };
  const complaint = wrong ?? problem;
  return (
    <form
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        approve();
      }}
    >
      <p>{words.compare}</p>
      <Field label={words.name} hint={words.nameHint} value={name} max={100} change={setName} />
      <Field label={words.thing} hint={words.thingHint} value={thingName} max={128} change={setThing} />
      <GroupChoice chosen={groups} choose={setGroups} />
      {complaint !== undefined && (
        <p role="alert" className="wrong">
          {complaint}
        </p>
      )}
      <span className="actions">
        <button type="submit" className="main" disabled={isBusy}>
          {words.approve}
        </button>
        <button
          type="button"
          disabled={isBusy}
          onClick={() => {
            decide({ decision: "deny", thingName: null, displayName: "", groups: [] });
          }}
        >
          {words.deny}
        </button>
      </span>
    </form>
  );
}

interface FieldProps {
  readonly label: string;
  readonly hint: string;
  readonly value: string;
  readonly max: number;
  readonly change: (value: string) => void;
}

function Field({ label, hint, value, max, change }: FieldProps): ReactNode {
  const id = useId();
  return (
    <>
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        value={value}
        maxLength={max}
        autoComplete="off"
        aria-describedby={`${id}-hint`}
        onChange={(event) => {
          change(event.target.value);
        }}
      />
      <p id={`${id}-hint`} className="quiet">
        {hint}
      </p>
    </>
  );
}

interface ChoiceProps {
  readonly chosen: readonly string[];
  readonly choose: (groups: readonly string[]) => void;
}

function GroupChoice({ chosen, choose }: ChoiceProps): ReactNode {
  const groups = useGroups();
  if (groups.data === undefined || groups.data.length === 0) return null;
  return (
    <fieldset>
      <legend>{words.groups}</legend>
      {groups.data.map(({ name }) => (
        <label key={name} className="choice">
          <input
            type="checkbox"
            checked={chosen.includes(name)}
            onChange={(event) => {
              choose(event.target.checked ? [...chosen, name] : chosen.filter((each) => each !== name));
            }}
          />
          {name}
        </label>
      ))}
    </fieldset>
  );
}
