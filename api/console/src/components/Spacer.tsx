/** Stands for the rows of a table that are out of view. */
export function Spacer({ rows, rowHeight }: { rows: number; rowHeight: number }) {
  if (rows <= 0) return null;
  return (
    <tr class="spacer" aria-hidden="true" style={{ height: `${rows * rowHeight}px` }}>
      <td />
    </tr>
  );
}
