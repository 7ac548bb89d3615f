import type { ReactNode } from "react";

import { texts } from "./texts";

export function Loading(): ReactNode {
  return (
    <p className="quiet" role="status">
      {texts.loading}
    </p>
  );
}

export function Failed({ error, retry }: { readonly error: Error; readonly retry: () => void }): ReactNode {
  return (
    <div className="notice fault" role="alert">
      <p>
        {texts.failed} {error.message}
      </p>
      <button type="button" onClick={retry}>
        {texts.retry}
      </button>
    </div>
  );
}
