// Every exported call of the node-zookeeper-client package, against one server: what stands in the prototypes of its client
// and its transactions. A case is called as the call that it is about; see stock.py for what is printed.
//
// node cases.js MODULE [ONLY] HOST:PORT

'use strict';

const zookeeper = require(process.argv[2]);
const only = process.argv.length > 4 ? process.argv[3] : '';
const hosts = process.argv[process.argv.length - 1];
// Milliseconds; a wait ends as soon as what is awaited is there.
const PATIENCE = 30000;
const WORDS = Buffer.from('x');

let zk;
let base;
let seen;
const called = new Set();
const cases = new Map();

const on = (name, run) => cases.set(name, run);
const note = (what) => seen.push(String(what));
const at = (path) => base + path;
const below = (path) => (typeof path === 'string' && path.startsWith(base) ? path.slice(base.length) : path);

function equal(got, wanted) {
    note(got);
    if (String(got) !== String(wanted)) {
        throw new Error(`${got} where ${wanted} was due`);
    }
}

function within(promise, what) {
    let timer;
    const late = new Promise((_, refuse) => { timer = setTimeout(() => refuse(new Error(`not within ${PATIENCE} ms: ${what}`)), PATIENCE); });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function shown(what) {
    if (what instanceof Error) {
        return what.getName ? `!${what.getName()}` : `!${what.message}`;
    } else if (Buffer.isBuffer(what)) {
        return `'${what}'`;
    } else if (what && what.czxid) {
        const mine = what.ephemeralOwner.equals(zk.getSessionId());
        const owner = mine ? 'mine' : what.ephemeralOwner.equals(Buffer.alloc(8)) ? 'none' : 'another';
        const changed = what.mzxid.equals(what.czxid) ? 'new' : 'changed';
        const family = what.pzxid.equals(what.czxid) ? '' : ' children changed';
        return `{version ${what.version},${what.cversion},${what.aversion} length ${what.dataLength} children ${what.numChildren} owner ${owner} ${changed}${family}}`;
    } else if (Array.isArray(what)) {
        const texts = what.map(shown);
        return `[${(typeof what[0] === 'string' ? texts.sort() : texts).join(', ')}]`;
    } else if (what && what.permission !== undefined) {
        return `${what.permission}:${what.id.scheme}:${what.id.id}`;
    } else if (what && what.type !== undefined && what.header) {
        return `result ${what.type}`;
    } else if (what && typeof what === 'object') {
        return what.path ? below(what.path) : what.stat ? shown(what.stat) : `{${Object.keys(what)}}`;
    }
    return String(below(what));
}

// What a call answers, with its error first.
function answer(of, call, ...words) {
    called.add(call);
    return within(new Promise((resolve) => of[call](...words, (error, ...results) => resolve(error ? shown(error) : results.map(shown).join(' ')))), call);
}

async function see(wanted, call, ...words) {
    equal(await answer(zk, call, ...words), wanted);
}

// A watcher, and what it is told.
function watcher() {
    const told = [];
    const waiting = [];
    const watch = (event) => (waiting.length ? waiting.shift()(event) : told.push(event));
    watch.see = async (wanted) => {
        const event = await within(told.length ? Promise.resolve(told.shift()) : new Promise((resolve) => waiting.push(resolve)), wanted);
        equal(`${event.getName()} ${below(event.getPath())}`, wanted);
    };
    return watch;
}

async function connect(options = {}) {
    const client = zookeeper.createClient(hosts, { sessionTimeout: 30000, retries: 2, ...options });
    const connected = new Promise((resolve) => client.once('connected', resolve));
    client.connect();
    await within(connected, 'a connection');
    return client;
}

function make(path, data = WORDS) {
    return answer(zk, 'create', at(path), data);
}

const NEW = '{version 0,0,0 length 1 children 0 owner none new}';
const SET = '{version 1,0,0 length 3 children 0 owner none changed}';
const { CreateMode, ACL, Permission, Id } = zookeeper;
const READ = [new ACL(Permission.READ, Id.ANYONE_ID_UNSAFE)];

on('connect', async () => {
    called.add('connect');
    const client = zookeeper.createClient(`${hosts}${base}`);
    equal(client.getState(), 'DISCONNECTED[0]');
    const connected = new Promise((resolve) => client.once('connected', resolve));
    client.connect();
    await within(connected, 'a connection');
    equal(await answer(client, 'create', '/a', WORDS), '/a');
    equal(await answer(zk, 'getChildren', base), '[a] {version 0,1,0 length 1 children 1 owner none new children changed}');
    client.close();
});
on('close', async () => {
    called.add('close');
    const client = await connect();
    equal(await answer(client, 'create', at('/e'), WORDS, CreateMode.EPHEMERAL), '/e');
    const watch = watcher();
    await answer(zk, 'exists', at('/e'), watch);
    client.close();
    await watch.see('NODE_DELETED /e');
});
on('onConnectionManagerState', async () => {
    called.add('onConnectionManagerState');
    const client = await connect();
    const states = [];
    client.on('state', (state) => states.push(state.getName()));
    const gone = new Promise((resolve) => client.once('disconnected', resolve));
    client.close();
    await within(gone, 'the end of the connection');
    equal(states, 'DISCONNECTED');
});
on('getState', async () => {
    called.add('getState');
    equal(zk.getState(), 'SYNC_CONNECTED[3]');
});
on('getSessionId', async () => {
    called.add('getSessionId');
    equal(zk.getSessionId().length, 8);
    equal(await answer(zk, 'create', at('/e'), WORDS, CreateMode.EPHEMERAL), '/e');
    equal(await answer(zk, 'exists', at('/e')), '{version 0,0,0 length 1 children 0 owner mine new}');
});
on('getSessionPassword', async () => {
    called.add('getSessionPassword');
    equal(zk.getSessionPassword().length, 16);
});
on('getSessionTimeout', async () => {
    called.add('getSessionTimeout');
    equal(zk.getSessionTimeout(), 30000);
    const client = await connect({ sessionTimeout: 500000 });
    equal(client.getSessionTimeout(), 60000);
    client.close();
});
on('addAuthInfo', async () => {
    called.add('addAuthInfo');
    zk.addAuthInfo('digest', Buffer.from('ann:secret'));
    await see('/d', 'create', at('/d'), WORDS, ACL.CREATOR_ALL_ACL);
    note(await answer(zk, 'getACL', at('/d')));
    const client = await connect();
    equal(await answer(client, 'getData', at('/d')), '!NO_AUTH');
    client.addAuthInfo('digest', Buffer.from('super:secret'));
    equal((await answer(client, 'getData', at('/d'))).slice(0, 3), "'x'");
    client.close();
    const wrong = await connect();
    const failed = new Promise((resolve) => wrong.once('authenticationFailed', resolve));
    wrong.addAuthInfo('nonsense', WORDS);
    await within(failed, 'a refusal');
    wrong.close();
});
on('create', async () => {
    await see('/a', 'create', at('/a'), WORDS);
    await see('!NODE_EXISTS', 'create', at('/a'), WORDS);
    await see('!NO_NODE', 'create', at('/none/a'));
    await see('/e', 'create', at('/e'), CreateMode.EPHEMERAL);
    await see('!NO_CHILDREN_FOR_EPHEMERALS', 'create', at('/e/a'));
    await see('/s-0000000002', 'create', at('/s-'), WORDS, CreateMode.PERSISTENT_SEQUENTIAL);
    await see('/s-0000000003', 'create', at('/s-'), WORDS, CreateMode.EPHEMERAL_SEQUENTIAL);
    await see('!INVALID_ACL', 'create', at('/l'), ACL.CREATOR_ALL_ACL);
    await see('/r', 'create', at('/r'), READ);
    await see('!NO_AUTH', 'create', at('/r/a'));
});
on('remove', async () => {
    await make('/a');
    await make('/a/b');
    await see('!NOT_EMPTY', 'remove', at('/a'));
    await see('!BAD_VERSION', 'remove', at('/a/b'), 3);
    await see('', 'remove', at('/a/b'), 0);
    await see('!NO_NODE', 'remove', at('/a/b'));
    await see('!BAD_ARGUMENTS', 'remove', '/zookeeper/quota');
});
on('removeRecursive', async () => {
    // The client walks no deeper than to the children, with the `async` of today.
    await make('/a');
    await make('/a/b');
    await make('/a/d');
    await see('', 'removeRecursive', at('/a'));
    await see('null', 'exists', at('/a'));
});
on('setData', async () => {
    await make('/a');
    await see(SET, 'setData', at('/a'), Buffer.from('new'), 0);
    await see('!BAD_VERSION', 'setData', at('/a'), WORDS, 0);
    await see('!NO_NODE', 'setData', at('/none'), WORDS);
});
on('getData', async () => {
    const watch = watcher();
    await make('/a');
    await see(`'x' ${NEW}`, 'getData', at('/a'), watch);
    await answer(zk, 'setData', at('/a'), Buffer.from('new'));
    await watch.see('NODE_DATA_CHANGED /a');
    await see(`'new' ${SET}`, 'getData', at('/a'), watch);
    await answer(zk, 'remove', at('/a'));
    await watch.see('NODE_DELETED /a');
    await see('!NO_NODE', 'getData', at('/a'));
    await answer(zk, 'create', at('/null'));
    await see(`undefined ${NEW.replace('length 1', 'length 0')}`, 'getData', at('/null'));
});
on('setACL', async () => {
    await make('/a');
    await see('!BAD_VERSION', 'setACL', at('/a'), READ, 4);
    await see('{version 0,0,1 length 1 children 0 owner none new}', 'setACL', at('/a'), READ, 0);
    await see('!NO_AUTH', 'setACL', at('/a'), READ);
    await see('!NO_NODE', 'setACL', at('/none'), READ);
});
on('getACL', async () => {
    await make('/a');
    await see(`[31:world:anyone] ${NEW}`, 'getACL', at('/a'));
    await see('!NO_NODE', 'getACL', at('/none'));
});
on('exists', async () => {
    const watch = watcher();
    await see('null', 'exists', at('/a'), watch);
    await make('/a');
    await watch.see('NODE_CREATED /a');
    await see(NEW, 'exists', at('/a'), watch);
    await answer(zk, 'setData', at('/a'), WORDS);
    await watch.see('NODE_DATA_CHANGED /a');
});
on('getChildren', async () => {
    const watch = watcher();
    await make('/a');
    await make('/a/c');
    await make('/a/b');
    await see('[b, c] {version 0,2,0 length 1 children 2 owner none new children changed}', 'getChildren', at('/a'), watch);
    await answer(zk, 'remove', at('/a/b'));
    await watch.see('NODE_CHILDREN_CHANGED /a');
    await see('!NO_NODE', 'getChildren', at('/none'));
});
on('listSubTreeBFS', async () => {
    // The client walks no deeper than to the children, with the `async` of today.
    await make('/a');
    await make('/a/b');
    await make('/a/d');
    await see('[/a, /a/b, /a/d]', 'listSubTreeBFS', at('/a'));
    await see('!NO_NODE', 'listSubTreeBFS', at('/none'));
});
on('mkdirp', async () => {
    await see('/a/b/c', 'mkdirp', at('/a/b/c'), WORDS);
    await see('/a/b/c/d', 'mkdirp', at('/a/b/c/d'));
    await see('!NO_CHILDREN_FOR_EPHEMERALS', 'mkdirp', (await answer(zk, 'create', at('/a/e'), CreateMode.EPHEMERAL), at('/a/e/f')));
});

// What the parts of a transaction came to.
function parts(error, results) {
    const texts = (results || []).map((each) => (each.err !== undefined ? `error ${each.err}` : each.path ? `created ${below(each.path)}` : each.stat ? `set ${shown(each.stat)}` : 'done'));
    return `${error ? shown(error) : 'ok'} [${texts.join(', ')}]`;
}

function commit(transaction) {
    called.add('transaction.commit');
    return within(new Promise((resolve) => transaction.commit((error, results) => resolve(parts(error, results)))), 'commit');
}

on('transaction', async () => {
    called.add('transaction');
    equal(await commit(zk.transaction().create(at('/a'), WORDS)), 'ok [created /a]');
});
for (const [name, add] of [
    ['create', (of) => of.create(at('/b'), WORDS).create(at('/b/s-'), CreateMode.PERSISTENT_SEQUENTIAL)],
    ['check', (of) => of.check(at('/a')).check(at('/a'), 7)],
    ['setData', (of) => of.setData(at('/a'), Buffer.from('new'), -1).setData(at('/none'), WORDS)],
    ['remove', (of) => of.remove(at('/a'), -1).create(at('/a'))],
    ['commit', (of) => of.create(at('/b')).check(at('/b')).setData(at('/b'), Buffer.from('new')).remove(at('/b'))],
]) {
    on(`transaction.${name}`, async () => {
        called.add(`transaction.${name}`);
        await make('/a');
        note(await commit(add(zk.transaction())));
        note(await answer(zk, 'getChildren', base));
    });
}

async function main() {
    const Transaction = Object.getPrototypeOf(zookeeper.createClient(hosts).transaction());
    const offered = [...Object.keys(zookeeper.createClient(hosts).constructor.prototype), ...Object.keys(Transaction).map((name) => `transaction.${name}`)];
    let count = 0;
    let good = true;
    for (const [name, run] of cases) {
        if (!name.includes(only)) {
            continue;
        }
        seen = [];
        base = `/case-${count++}`;
        let error;
        try {
            zk = await connect();
            await answer(zk, 'create', base, WORDS);
            await run();
            zk.close();
        } catch (thrown) {
            error = thrown;
        }
        good = good && !error;
        const text = error ? `${error.stack.split('\n').slice(0, 3).join(' ')} behind ${seen.join('\n')}` : seen.join('\n');
        console.log(['@case', name, error ? 'FAILED' : 'passed', text.replace(/\\/g, '\\\\').replace(/\t/g, '\\t').replace(/\n/g, '\\n')].join('\t'));
    }
    for (const name of offered) {
        if (!cases.has(name) || (!only && !called.has(name))) {
            console.log(`@missing\t${name}`);
        }
    }
    process.exit(good ? 0 : 1);
}

main();
