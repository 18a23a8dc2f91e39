import type { Role } from "../../api/model";
import { SelectField } from "../../components/SelectField";
import { roleTexts, roles } from "./members";

/** A labelled choice of a role, with what each may do. */
export function RoleField({ role, change }: { role: Role; change(role: Role): void }) {
  const options = roles.map((one): [Role, string] => [one, roleTexts[one]]);
  return <SelectField label="Role" value={role} options={options} change={change} />;
}
