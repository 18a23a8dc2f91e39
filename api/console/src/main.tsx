import { render } from "preact";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/components.css";
import "./styles/lists.css";
import { App } from "./app/App";
import { preloadPage } from "./app/routes";
import { applyTheme } from "./app/theme";

applyTheme();
preloadPage(window.location.pathname);
const root = document.getElementById("app");
if (root) render(<App />, root);
