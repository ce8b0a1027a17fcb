// The Manage screen.

import { Empty } from "../../ui/Empty";

export default function Manage() {
  return <Empty title="Manage" />;
}
