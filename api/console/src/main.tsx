import { render } from "preact";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/components.css";
import "./styles/lists.css";
import { App } from "./app/App";
import { preloadPage } from "./app/routes";
import { applyTheme } from "./app/theme";
import { readSession } from "./data/session";

applyTheme();
// Nothing is drawn before this request is on its way.
void readSession();
preloadPage(window.location.pathname);
const root = document.getElementById("app");
if (root) render(<App />, root);
