/** The page at `/` in a real browser (Debian's chromium, driven by playwright-core; nothing is downloaded). */
import assert from 'node:assert/strict';
import { type Browser, chromium, type Page } from 'playwright-core';
import { type Case, type ServerUnderTest, unique } from '../case.ts';

const CHROMIUM = '/usr/bin/chromium';
const WAIT_MS = 10_000;

async function withPage(url: string, task: (page: Page) => Promise<void>): Promise<void> {
  const browser: Browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(WAIT_MS);
    const problems: string[] = [];
    page.on('pageerror', (error) => problems.push(String(error)));
    await page.goto(url);
    await task(page);
    assert.deepEqual(problems, [], 'no script of the page failed');
  } finally {
    await browser.close();
  }
}

function urlOf(server: ServerUnderTest, host = server.host): string {
  return `http://${host}:${server.httpPort}/`;
}

export const cases: Case[] = [
  {
    name: 'the page watches topics and publishes: what curl would send appears, as text and not as HTML',
    needs: ['chromium'],
    timeoutMs: 60_000,
    async run(server) {
      const topic = unique('page');
      await withPage(urlOf(server), async (page) => {
        await page.locator('#state', { hasText: 'subscribed' }).waitFor();
        const markup = '<img src=x onerror=alert(1)>';
        const posted = await fetch(`${urlOf(server)}v1/topics/${topic}/a`, { method: 'POST', body: markup });
        assert.equal(posted.status, 200);
        await page.locator('td', { hasText: markup }).waitFor();
        await page.fill('#topic', `${topic}/b`);
        await page.fill('#payload', 'from the page');
        await page.click('#publish button');
        await page
          .locator('tr', { hasText: `${topic}/b` })
          .locator('td', { hasText: 'from the page' })
          .waitFor();
        assert.equal(await page.locator('img').count(), 0);
      });
    },
  },
  {
    name: 'a script of another origin can neither publish, nor read, nor open a WebSocket',
    needs: ['chromium'],
    timeoutMs: 60_000,
    async run(server) {
      // The same server under another name of the machine is another origin.
      const target = urlOf(server, 'localhost');
      await withPage(urlOf(server, '127.0.0.1'), async (page) => {
        // The page's own policy would stop the attempt before the server could: leave it for a page without one.
        await page.goto(`${urlOf(server, '127.0.0.1')}health/live`);
        const outcome = await page.evaluate(async (url) => {
          const post = await fetch(`${url}v1/topics/evil`, { method: 'POST', body: 'x' }).then(
            () => 'answered',
            () => 'refused',
          );
          const socket = new WebSocket(`${url.replace('http', 'ws')}ws`, 'junction.json');
          const opened = await new Promise((resolve) => {
            socket.onopen = () => resolve('opened');
            socket.onerror = () => resolve('refused');
          });
          return [post, opened];
        }, target);
        assert.deepEqual(outcome, ['refused', 'refused']);
      });
    },
  },
];
