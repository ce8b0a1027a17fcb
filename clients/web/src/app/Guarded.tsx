// What is shown in the place of what failed: what went wrong, and how to go on. The rest of the page stays.

import { Component, type ReactNode } from "react";

import { sentence } from "../server/client";
import { Empty } from "../ui/Empty";

export class Guarded extends Component<{ children: ReactNode }, { error: unknown }> {
  state = { error: null };

  static getDerivedStateFromError(error: unknown) {
    return { error: error ?? new Error("Something failed.") };
  }

  render() {
    const { error } = this.state;
    if (error === null) return this.props.children;
    return (
      <div role="alert">
        <Empty title="This cannot be shown just now">
          <p>What runs on the server goes on, and what you typed stays.</p>
          <p><code>{sentence(error)}</code></p>
          <button type="button" onClick={() => this.setState({ error: null })}>Try again</button>{" "}
          <button type="button" className="primary" onClick={() => location.reload()}>Reload the page</button>
        </Empty>
      </div>
    );
  }
}
