/** The page: opens the server's lab, and draws it. */
import { render } from 'preact';
import { App } from './app.tsx';
import { attempt, open } from './model.ts';
import './style.css';
import 'uplot/dist/uPlot.min.css';

render(<App />, document.querySelector('#page')!);
// The address of a server that was started anew, in the same tab: only the token behind # is another.
window.addEventListener('hashchange', () => window.location.reload());
await attempt(open);
