import { Component, type ReactNode } from "react";

import { Notice } from "@/ui/notice";

/** Shows an error message when rendering the page fails. */
export class ErrorBoundary extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state: { error: Error | null } = { error: null };

  static getDerivedStateFromError(error: Error): { error: Error } {
    return { error };
  }

  override render(): ReactNode {
    const { error } = this.state;
    if (!error) return this.props.children;
    return (
      <main className="grid min-h-dvh place-items-center">
        <Notice
          tone="bad"
          title="The dashboard failed"
          onRetry={() => {
            location.reload();
          }}
        >
          {error.message}. No event is lost: Helios stores events independently of the dashboard.
        </Notice>
      </main>
    );
  }
}
