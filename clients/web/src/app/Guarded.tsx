// What is shown in the place of a screen that cannot be: it failed, or the server has a newer page.

import { Component, type ReactNode } from "react";

import { Empty } from "../ui/Empty";

export class Guarded extends Component<{ children: ReactNode }, { failed: boolean }> {
  state = { failed: false };

  static getDerivedStateFromError() {
    return { failed: true };
  }

  render() {
    if (!this.state.failed) return this.props.children;
    return (
      <Empty title="This screen could not be shown">
        <p>The server may have a newer page than this one. What runs there goes on.</p>
        <button type="button" className="primary" onClick={() => location.reload()}>Reload the page</button>
      </Empty>
    );
  }
}
