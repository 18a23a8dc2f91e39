// Why the company's account did not sign anybody in, in words.

const texts: Record<string, string> = {
  unavailable:
    "The provider of your company's accounts does not answer as it should. Try again in a moment, or use an API key.",
  refused: "The provider of your company's accounts has not signed you in. Try again.",
  not_pending: "This sign-in took too long, or began in another browser. Begin again.",
  invalid_token:
    "The provider's answer could not be trusted, so nobody was signed in. Tell your administrator, who finds the reason in the log.",
  no_email:
    "The provider sends no verified e-mail address of yours. Ask your administrator to let it send one.",
  email_taken:
    "There is a user with your e-mail address already, and the provider does not say that the address is verified. Ask your administrator.",
  disabled: "Your user is disabled. Ask your administrator.",
};

export function problemText(code: string): string {
  return texts[code] ?? "You could not be signed in. Try again.";
}
