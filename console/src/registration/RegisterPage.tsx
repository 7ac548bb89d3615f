import { useId, useState, type ReactNode } from "react";
import { useSearchParams } from "react-router";

import { useMe } from "../people/queries";
import { roleOf } from "../people/words";
import { Failed, Loading } from "../ui/states";
import { texts } from "../ui/texts";
import { codeOf } from "./names";
import { RegistrationCard } from "./RegistrationCard";

const words = texts.register;

/** Where a camera is let in: its owner confirms its code, compares its fingerprint, and gives it a name. */
export function RegisterPage(): ReactNode {
  const me = useMe();
  const [given] = useSearchParams();
  const [code, setCode] = useState<string | undefined>();
  if (me.isPending) return <Loading />;
  if (me.isError) return <Failed error={me.error} retry={() => void me.refetch()} />;
  return (
    <section className="notice register">
      <h1>{words.title}</h1>
      {!me.data.permissions.includes("own") ? (
        <>
          <p role="alert">{words.notAllowed}</p>
          <p className="quiet">{words.youAre(roleOf(me.data))}</p>
        </>
      ) : code === undefined ? (
        <CodeForm given={given.get("user_code") ?? ""} confirm={setCode} />
      ) : (
        <RegistrationCard
          key={code}
          code={code}
          another={() => {
            setCode(undefined);
          }}
        />
      )}
    </section>
  );
}

interface CodeFormProps {
  readonly given: string;
  readonly confirm: (code: string) => void;
}

/** A code that came with the address is not believed: whoever sent it may not be in front of the camera. */
function CodeForm({ given, confirm }: CodeFormProps): ReactNode {
  const id = useId();
  const [typed, type] = useState(codeOf(given) ?? "");
  const [isWrong, setWrong] = useState(false);
  return (
    <form
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        const code = codeOf(typed);
        setWrong(code === undefined);
        if (code !== undefined) confirm(code);
      }}
    >
      <p>{given === "" ? words.intro : words.confirm}</p>
      <label htmlFor={id}>{words.code}</label>
      <input
        id={id}
        className="code"
        value={typed}
        autoFocus
        autoComplete="off"
        autoCapitalize="characters"
        spellCheck={false}
        maxLength={20}
        aria-invalid={isWrong}
        aria-describedby={`${id}-hint`}
        onChange={(event) => {
          type(event.target.value);
        }}
      />
      <p id={`${id}-hint`} className={isWrong ? "wrong" : "quiet"} role={isWrong ? "alert" : undefined}>
        {isWrong ? words.errors.codeForm : words.codeHint}
      </p>
      <button type="submit" className="main">
        {words.find}
      </button>
    </form>
  );
}
