'use strict';
(() => {
  const make = (tag, properties, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  // --- The dialog that shows pictures. It walks through a list: all rows of the items in view, all cells of a matrix.

  const viewer = document.getElementById('viewer');
  const part = (name) => viewer.querySelector(name);
  let list = { length: 0 }; // length, and entry(index): {title, facts: [[name, value]], content: [element]}
  let shown = 0;

  // picture decodes one of the data blocks at the end of the page.
  const picture = ([ref, title, note]) => {
    const stored = document.getElementById(`picture-${ref}`);
    const image = make('img', { alt: title, width: stored.dataset.width, height: stored.dataset.height, src: stored.textContent });
    const caption = make('figcaption', {}, make('b', {}, title));
    if (note) caption.append(make('span', {}, note));
    return make('figure', {}, image, caption);
  };

  // slider lays a picture over the one that it is compared with; nothing for a picture that is compared with none.
  const slider = (pictures, shown) => {
    const [, title, , against] = shown;
    const other = against && pictures.find((p) => p[1] === against);
    if (!other) return [];
    const stack = make('div', { className: 'stack' }, ...[other, shown].map((p) => picture(p).querySelector('img')));
    const range = make('input', { type: 'range', min: 0, max: 100, value: 50 });
    range.setAttribute('aria-label', `${against} on the left, ${title} on the right`);
    range.addEventListener('input', () => stack.style.setProperty('--at', `${range.value}%`));
    return [make('figure', { className: 'compare' }, stack, range, make('figcaption', {}, make('b', {}, `${against} | ${title}`)))];
  };

  const pictures = (all) => [...all.map(picture), ...all.flatMap((p) => slider(all, p))];

  const show = (index) => {
    if (index < 0 || index >= list.length) return;
    shown = index;
    const { title, facts, content } = list.entry(index);
    part('h2').textContent = title;
    part('.facts').replaceChildren(...facts.map(([name, value]) => make('div', {}, make('dt', {}, name), make('dd', {}, value))));
    part('.pictures').replaceChildren(...content);
    part('.position').textContent = list.length > 1 ? `${index + 1} of ${list.length}` : '';
    part('.previous').hidden = part('.next').hidden = list.length < 2;
    part('.previous').disabled = index === 0;
    part('.next').disabled = index === list.length - 1;
    viewer.scrollTop = 0;
  };

  const open = (entries, index) => {
    list = entries;
    show(index);
    viewer.showModal();
    part('.close').focus();
  };

  part('.previous').addEventListener('click', () => show(shown - 1));
  part('.next').addEventListener('click', () => show(shown + 1));
  part('.close').addEventListener('click', () => viewer.close());
  viewer.addEventListener('click', (event) => { if (event.target === viewer) viewer.close(); }); // outside of it
  viewer.addEventListener('keydown', (event) => {
    if (event.target.type === 'range') return; // the arrows move it
    if (event.key === 'ArrowLeft') show(shown - 1);
    if (event.key === 'ArrowRight') show(shown + 1);
  });
  viewer.addEventListener('close', () => { // give the decoded pictures back; the event comes late, the viewer may be open again
    if (!viewer.open) part('.pictures').replaceChildren();
  });

  // --- Figures and matrices.

  for (const figure of document.querySelectorAll('.drawing')) {
    const entry = () => ({
      title: figure.querySelector('figcaption').textContent, facts: [], content: [figure.querySelector('img').cloneNode()],
    });
    figure.querySelector('button').addEventListener('click', () => open({ length: 1, entry }, 0));
  }

  for (const matrix of document.querySelectorAll('.matrix')) {
    const buttons = [...matrix.querySelectorAll('button[data-pictures]')];
    const columns = [...matrix.querySelectorAll('thead tr:last-child th')].map((th) => th.textContent);
    const axes = [columns.shift(), matrix.querySelector('thead tr:not(:last-child) th')?.textContent];
    const measures = JSON.parse(matrix.dataset.measures) ?? [];
    const entry = (index) => {
      const cell = buttons[index].closest('td');
      const names = [cell.parentElement.querySelector('th').textContent, columns[cell.cellIndex - 1]];
      return {
        title: `${matrix.querySelector('figcaption').textContent}: ${names.join(', ')}`,
        facts: [
          ...names.map((name, i) => [axes[i] || ['row', 'column'][i], name]),
          ...[...cell.querySelectorAll('span')].map((line, i) => [measures[i] ?? 'value', line.textContent]),
        ],
        content: pictures(JSON.parse(buttons[index].dataset.pictures)),
      };
    };
    buttons.forEach((button, index) => button.addEventListener('click', () => open({ length: buttons.length, entry }, index)));
  }

  // --- Copies of tables.

  const csv = (rows) => rows.map((row) => row.map((text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)).join(',') + '\n').join('');

  const copyButton = (button, rows) => button.addEventListener('click', async () => {
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(csv(rows()));
      button.textContent = 'Copied';
    } catch {
      button.textContent = 'The browser does not allow copying';
    }
    button.addEventListener('blur', () => { button.textContent = label; }, { once: true });
  });

  for (const figure of document.querySelectorAll('figure.table')) {
    const texts = (row) => [...row.cells].map((cell) => cell.textContent.trim());
    copyButton(figure.querySelector('.copy'), () => [
      [...figure.querySelectorAll('thead tr:last-child th')].map((th) => th.textContent),
      ...[...figure.querySelectorAll('tbody tr')].map(texts),
    ]);
  }

  // --- The items. A view is what is sorted and filtered how; it stands in the fragment of the address:
  // #items?text=words&method=HiNet&sort=-psnr&page=2, without what is as at the start.

  const collator = new Intl.Collator('en', { numeric: true });

  const startItems = (items) => {
    const { columns, rows, pageRows } = JSON.parse(items.querySelector('script').textContent);
    const text = (column, value) => {
      if (typeof value === 'string') return value; // in a column of numbers why one is missing
      if (value === null) return '–';
      return Number.isFinite(value) ? value.toFixed(columns[column].decimals) : value < 0 ? '-∞' : '∞';
    };
    const texts = ([values]) => values.map((value, column) => text(column, value));
    const lower = rows.map((row) => texts(row).join('\n').toLowerCase());

    const search = items.querySelector('input');
    const selects = [...items.querySelectorAll('select')];
    const heads = [...items.querySelectorAll('th[scope=col]')];
    const body = items.querySelector('tbody');
    const worst = heads.findIndex((head) => head.dataset.worst);
    let sort = -1; // a column; -1 is the order in which the rows came, worst first
    let down = false;
    let page = 1;
    let view = []; // indices of rows

    const compare = (a, b) => {
      const x = rows[a][0][sort];
      const y = rows[b][0][sort];
      if (!columns[sort].number) return collator.compare(x, y) * (down ? -1 : 1);
      const missing = (typeof x !== 'number') - (typeof y !== 'number');
      if (missing || typeof x !== 'number') return missing; // last in both directions
      const order = (x > y) - (x < y);
      return down ? -order : order;
    };

    const select = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const wanted = selects.filter((s) => s.value).map((s) => [columns.findIndex((c) => c.name === s.name), s.value]);
      view = [...rows.keys()].filter((i) => words.every((word) => lower[i].includes(word))
        && wanted.every(([column, value]) => rows[i][0][column] === value));
      if (sort >= 0) view.sort(compare); // stable
    };

    const line = (index, at) => {
      const cells = texts(rows[index]).map((value, column) => {
        if (column > 0) return make('td', columns[column].number ? { className: 'number' } : {}, value);
        const opens = rows[index][1].length > 0;
        const button = make('button', { type: 'button' }, value);
        button.setAttribute('aria-haspopup', 'dialog');
        return make('th', { scope: 'row' }, opens ? button : value);
      });
      const row = make('tr', {}, ...cells);
      if (rows[index][1].length > 0) row.addEventListener('click', (event) => {
        if (event.target.closest('button') || getSelection().isCollapsed) open({ length: view.length, entry }, at); // not while text is being selected
      });
      return row;
    };

    const entry = (at) => {
      const row = rows[view[at]];
      const [title, ...rest] = texts(row);
      return { title: `${columns[0].title} ${title}`, facts: rest.map((value, i) => [columns[i + 1].title, value]), content: pictures(row[1]) };
    };

    const draw = () => {
      const pages = Math.max(1, Math.ceil(view.length / pageRows));
      page = Math.min(Math.max(1, page), pages);
      const from = (page - 1) * pageRows;
      const lines = view.slice(from, from + pageRows).map((index, i) => line(index, from + i));
      if (lines.length === 0) lines.push(make('tr', {}, make('td', { colSpan: columns.length, className: 'none' }, 'No row matches.')));
      body.replaceChildren(...lines);
      heads.forEach((head, column) => {
        if (column === sort) head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
        else if (sort < 0 && column === worst) head.setAttribute('aria-sort', head.dataset.worst);
        else head.removeAttribute('aria-sort');
      });
      const found = view.length === rows.length ? `${rows.length} rows` : `${view.length} of ${rows.length} rows`;
      const order = sort >= 0 ? `, by ${columns[sort].title}, ${down ? 'descending' : 'ascending'}` : worst >= 0 ? `, worst ${columns[worst].title} first` : '';
      items.querySelector('[role=status]').textContent = found + order;
      items.querySelector('.pages').textContent = view.length > 0 ? `${from + 1}–${Math.min(from + pageRows, view.length)}` : '';
      items.querySelector('.previous').disabled = page === 1;
      items.querySelector('.next').disabled = page === pages;
    };

    const write = () => {
      const parameters = new URLSearchParams();
      if (search.value) parameters.set('text', search.value);
      for (const s of selects) if (s.value) parameters.set(s.name, s.value);
      if (sort >= 0) parameters.set('sort', (down ? '-' : '') + columns[sort].name);
      if (page > 1) parameters.set('page', page);
      const query = parameters.toString();
      history.replaceState(null, '', `#${items.dataset.section}${query && `?${query}`}`);
    };

    const read = () => {
      const [section, query] = location.hash.slice(1).split(/\?(.*)/s);
      if (section !== items.dataset.section) return;
      if (query === undefined) return write(); // a link to the section leaves the view as it is
      const parameters = new URLSearchParams(query);
      search.value = parameters.get('text') ?? '';
      for (const s of selects) {
        s.value = parameters.get(s.name) ?? '';
        if (s.selectedIndex < 0) s.value = ''; // no such choice
      }
      const name = parameters.get('sort') ?? '';
      down = name.startsWith('-');
      sort = columns.findIndex((column) => column.name === name.slice(down ? 1 : 0));
      page = Number.parseInt(parameters.get('page') ?? '1', 10) || 1;
      select();
      draw();
      document.getElementById(section).scrollIntoView();
    };

    const refresh = () => {
      page = 1;
      select();
      draw();
      write();
    };
    const turn = (by) => {
      page += by;
      draw();
      write();
      items.querySelector('.scroll').scrollTop = 0;
    };

    search.addEventListener('input', refresh);
    selects.forEach((s) => s.addEventListener('change', refresh));
    heads.forEach((head, column) => head.querySelector('button').addEventListener('click', () => {
      const now = head.getAttribute('aria-sort');
      down = now === 'ascending' || (now !== 'descending' && Boolean(columns[column].lower)); // worst first
      sort = column;
      refresh();
    }));
    items.querySelector('.previous').addEventListener('click', () => turn(-1));
    items.querySelector('.next').addEventListener('click', () => turn(1));
    items.querySelector('.reset').addEventListener('click', () => {
      search.value = '';
      selects.forEach((s) => { s.value = ''; });
      sort = -1;
      refresh();
    });
    copyButton(items.querySelector('.copy'), () => [columns.map((c) => c.title), ...view.map((i) => texts(rows[i]))]);
    addEventListener('hashchange', read);
    select();
    draw();
    read();
  };

  document.querySelectorAll('.items').forEach(startItems);
})();
