// The service's own page: a search, a form that writes, and the banner. The banner comes from the guard's document, the
// same one that refuses the writes, so that the two cannot disagree.
import { escapeHtml } from '../services/strict.ts';

export function page(links: readonly { name: string; url: string }[]): string {
  const anchors = links.map(({ name, url }) => `<a href="${escapeHtml(url)}">${escapeHtml(name)}</a>`).join(' ');
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Search</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 46rem; margin: 0 auto; padding: 0 1rem 2rem }
header { display: flex; align-items: baseline; gap: 1rem; margin: 1.5rem 0 1rem } h1 { font-size: 1.5rem; margin: 0 }
header nav { margin-left: auto; display: flex; gap: 1rem } h2 { font-size: 1.1rem; margin: 1.5rem 0 .4rem }
#banner { padding: .7rem 1rem; border-radius: .4rem; color: #fff; background: #8a5a00; margin-top: 1rem }
#banner a { color: inherit }
form { display: flex; gap: .5rem; flex-wrap: wrap }
input, button { font: inherit; padding: .45rem .7rem; border: 1px solid #8888; border-radius: .4rem }
input { flex: 1 1 12rem } button { cursor: pointer } button:disabled { cursor: not-allowed; opacity: .5 }
ol { padding: 0; list-style: none; margin: .8rem 0 } li { border: 1px solid #8886; border-radius: .4rem; padding: .6rem 1rem; margin: .6rem 0 }
li strong { display: block } .quiet { opacity: .7; font-size: .85rem }
</style></head>
<body>
<div id="banner" role="status" hidden></div>
<header><h1>Search</h1><nav>${anchors}</nav></header>
<form id="search"><input name="q" type="search" aria-label="Search" placeholder="Search the documents"><button>Search</button></form>
<ol id="results"></ol>
<h2>Nearest by vector</h2>
<ol id="nearest"></ol>
<h2>New document</h2>
<form id="add"><input name="title" aria-label="Title" placeholder="Title"><input name="body" aria-label="Text" placeholder="Text"><button>Save</button></form>
<p id="said" class="quiet" role="status"></p>
<script type="module">
const $ = (id) => document.getElementById(id);
const element = (name, text, more = {}) => Object.assign(document.createElement(name), { textContent: text, ...more });
const json = async (path, init) => {
  const response = await fetch(path, { cache: 'no-store', ...init });
  return { response, body: response.status === 204 ? {} : await response.json() };
};

async function banner() {
  try {
    const { body } = await json('/.well-known/maintenance');
    const [holder] = body.holders;
    $('banner').hidden = !body.read_only;
    $('add').querySelector('button').disabled = body.read_only;
    if (!body.read_only) return;
    const until = holder?.until ? new Date(holder.until) : undefined;
    const time = until ? until.toISOString().slice(11, 16) + ' UTC' : 'further notice';
    const words = holder?.overdue
      ? 'Read-only for longer than planned (until ' + time + '). '
      : 'Read-only for maintenance until ' + time + '. ';
    $('banner').replaceChildren(words + 'Search works, saving does not. ');
    if (/^https?:/.test(holder?.status_page ?? '')) $('banner').append(element('a', 'Status page', { href: holder.status_page }));
  } catch {
    // The next look comes in a second.
  }
}

async function search(q) {
  const [found, near] = await Promise.all(['/search?q=', '/vectors/nearest?q='].map((path) => json(path + encodeURIComponent(q))));
  const item = (title, text) => { const li = element('li'); li.append(element('strong', title), element('span', text, { className: 'quiet' })); return li; };
  const { results = [] } = found.body;
  $('results').replaceChildren(...(results.length ? results.map((one) => item(one.title, one.snippet)) : [item('Nothing found', 'Try another word.')]));
  $('nearest').replaceChildren(...(near.body.results ?? []).slice(0, 3).map((one) => item(one.title ?? one.id, 'cosine ' + one.score)));
}

$('search').addEventListener('submit', (event) => {
  event.preventDefault();
  const q = new FormData(event.target).get('q').trim();
  if (q) search(q);
});
$('add').addEventListener('submit', async (event) => {
  event.preventDefault();
  const { response, body } = await json('/documents', {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(Object.fromEntries(new FormData(event.target))),
  });
  $('said').textContent = response.ok ? 'Saved as ' + body.id + '.' : body.detail;
});
const q = new URLSearchParams(location.search).get('q') ?? 'window';
$('search').elements.q.value = q;
search(q);
banner();
setInterval(banner, 1000);
</script>
</body></html>
`;
}
