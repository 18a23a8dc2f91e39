import type { Role } from "../../api/model";
import { roleName, roles } from "./members";

interface RoleSelectProps {
  /** Whose role it is. */
  of: string;
  role: Role;
  change(role: Role): void;
}

export function RoleSelect({ of, role, change }: RoleSelectProps) {
  return (
    <select
      class="select"
      aria-label={`Role of ${of}`}
      value={role}
      onChange={(event) => change(event.currentTarget.value as Role)}
    >
      {roles.map((one) => (
        <option key={one} value={one}>
          {roleName(one)}
        </option>
      ))}
    </select>
  );
}
