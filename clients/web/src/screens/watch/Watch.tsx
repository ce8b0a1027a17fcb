// The Watch screen.

import { Empty } from "../../ui/Empty";

export default function Watch() {
  return <Empty title="Watch" />;
}
