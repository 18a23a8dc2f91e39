import { expect, test } from "vitest";
import { problemText } from "./problems";

test("every problem has a sentence, unknown ones too", () => {
  expect(problemText("disabled")).toContain("disabled");
  expect(problemText("<b>later</b>")).toBe("You could not be signed in. Try again.");
});
