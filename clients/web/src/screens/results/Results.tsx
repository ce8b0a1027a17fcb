// The Results screen.

import { Empty } from "../../ui/Empty";

export default function Results() {
  return <Empty title="Results" />;
}
