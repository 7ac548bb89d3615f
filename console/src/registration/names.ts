/** RFC 8628, 6.1, as the planes make their codes: no vowels, nothing that looks like something else. */
const CODE = /^[BCDFGHJKLMNPQRSTVWXZ]{8}$/;
const THING = /^[A-Za-z0-9:_-]{1,128}$/;
const THING_MAX = 64;

/** A code as people type it, in the way it is shown; undefined where it is none. */
export function codeOf(typed: string): string | undefined {
  const letters = typed.replaceAll(/[\s-]/g, "").toUpperCase();
  return CODE.test(letters) ? `${letters.slice(0, 4)}-${letters.slice(4)}` : undefined;
}

/** "Café, back door" as a name for programs: "cafe-back-door". May be empty. */
export function thingNameOf(name: string): string {
  const plain = name.normalize("NFKD").replaceAll(/\p{M}/gu, "").toLowerCase();
  return plain
    .replaceAll(/[^a-z0-9]+/g, "-")
    .slice(0, THING_MAX)
    .replaceAll(/^-+|-+$/g, "");
}

export function isThingName(name: string): boolean {
  return THING.test(name);
}
