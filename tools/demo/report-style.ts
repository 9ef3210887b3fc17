/**
 * Style sheet of the report; light and dark. Phases before exec are blue, exec and start of the new
 * image grey, after it green.
 */
export const REPORT_STYLE = `
:root { --fg: #1c2430; --dim: #5d6b7c; --bg: #fff; --line: #dfe4ea; --area: #4a7fc1; --band: #e8833a; --ok: #1d8a4e; --bad: #c43434; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --fg: #e6eaf0; --dim: #95a3b5; --bg: #12161c; --line: #2a323d; --area: #6ea3e6; --ok: #4cc383; --bad: #f07070; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--fg); background: var(--bg); max-width: 1120px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; } h3 { font-size: 1rem; margin: 1.5rem 0 .3rem; }
h3 span { font-weight: normal; color: var(--dim); } p { margin: .3rem 0; color: var(--dim); }
.pass, .fail { color: #fff; border-radius: .3rem; padding: 0 .6rem; margin-right: .3rem; } .pass { background: var(--ok); } .fail { background: var(--bad); }
.failures { color: var(--bad); }
.tiles { display: flex; flex-wrap: wrap; gap: .6rem; margin-top: 1rem; } .tiles div { border: 1px solid var(--line); border-radius: .4rem; padding: .4rem .8rem; color: var(--dim); font-size: .85rem; }
.tiles b { display: block; color: var(--fg); font-size: 1.1rem; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; display: block; } svg text { font: 12px system-ui, sans-serif; fill: var(--fg); } svg .tick { font-size: 11px; fill: var(--dim); }
svg .label { font-weight: 600; } svg .bandlabel { font-size: 12px; font-weight: 600; fill: var(--band); }
.grid { stroke: var(--line); stroke-width: 1; } .base { stroke: var(--dim); stroke-width: .6; } .area { fill: var(--area); fill-opacity: .55; stroke: var(--area); stroke-width: 1; }
.bar { fill: var(--area); } .band { fill: var(--band); fill-opacity: .2; }
.phase-stop { fill: #9cc3ee; background: #9cc3ee; } .phase-invalidate { fill: #5f97d6; background: #5f97d6; } .phase-save { fill: #2f62a3; background: #2f62a3; }
.phase-exec { fill: #8d99a8; background: #8d99a8; } .phase-boot { fill: #616d7c; background: #616d7c; }
.phase-map { fill: #bfe3c3; background: #bfe3c3; } .phase-remap { fill: #86c98d; background: #86c98d; } .phase-load { fill: #4aa556; background: #4aa556; } .phase-resume { fill: #2b7636; background: #2b7636; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; } th, td { text-align: right; padding: .2rem .7rem; border-bottom: 1px solid var(--line); } td:nth-child(2) { text-align: left; }
th { color: var(--dim); font-weight: 600; } .key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .35em; vertical-align: -.05em; }
`;
