import { Component, type ReactNode } from "react";

import { texts } from "./texts";

interface Props {
  readonly children: ReactNode;
}

interface State {
  readonly error: Error | undefined;
}

/** What stands here when a page has a defect: never nothing. A new `key` tries again. */
export class ErrorBoundary extends Component<Props, State> {
  override state: State = { error: undefined };

  static getDerivedStateFromError(error: unknown): State {
    return { error: error instanceof Error ? error : new Error(String(error)) };
  }

  override render(): ReactNode {
    const { error } = this.state;
    if (error === undefined) return this.props.children;
    return (
      <div className="notice fault" role="alert">
        <p>
          {texts.broken} {error.message}
        </p>
        <button
          type="button"
          onClick={() => {
            location.reload();
          }}
        >
          {texts.reload}
        </button>
      </div>
    );
  }
}
