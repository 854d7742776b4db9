"""Texts that try to run: each would name itself in `window.ran`, in the title, or to the server if it did."""

_RUN = "window.ran=(window.ran||0)+1;document.title='ran';fetch('/ran')"

SCRIPTED = (
    f"<script>{_RUN}</script>",
    f'<img src=x onerror="{_RUN}">',
    f'<svg onload="{_RUN}"><circle r=9></svg>',
    f'<a id=lure href="javascript:{_RUN}">press</a>',
    f'<iframe srcdoc="<script>parent.{_RUN}</script>"></iframe>',
    '<iframe src="javascript:alert(1)"></iframe>',
    f'<body onload="{_RUN}"><input autofocus onfocus="{_RUN}">',
    f'<details open ontoggle="{_RUN}">x</details>',
    '<link rel=stylesheet href="/ran.css"><style>@import "/ran.css"; body{display:none}</style>',
    '<meta http-equiv=refresh content="0;url=/ran"><base href="http://127.0.0.1:1/">',
    '<form action="/ran" id=f><button form=f>x</button></form><object data="/ran"></object><embed src="/ran">',
    f"$\\href{{javascript:{_RUN}}}{{press}}$ and $\\url{{javascript:alert(1)}}$",
    "$\\htmlClass{x}{y}$ $\\htmlId{lure}{y}$ $\\htmlStyle{background:url(/ran)}{y}$ $\\htmlData{ran=1}{y}$",
    "$\\includegraphics[height=1em]{/ran.png}$ $\\includegraphics{http://127.0.0.1:1/ran.png}$",
    f'$\\text{{<img src=x onerror="{_RUN}">}}$ \\boxed{{<script>{_RUN}</script>}}',
    f"$\\def\\x{{\\x\\x}}\\x$ $x\\unicode{{<script>{_RUN}</script>}}$",
    f'"><script>{_RUN}</script><!-- `${{{_RUN}}}` {{{{constructor.constructor("{_RUN}")()}}}}',
    f"</textarea></title></style></noscript></script><script>{_RUN}</script>",
    f"\u202e<ſcript>{_RUN}</ſcript>\ud7ff\u2028<math><mtext><img src onerror={_RUN}></mtext></math>",
    f"[press](javascript:{_RUN}) ![x](x\" onerror=\"{_RUN}) <template><img src=x onerror='{_RUN}'></template>",
)
