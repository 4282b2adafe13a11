// The kafkajs scenarios: `node kafkajs.js SCENARIO BOOTSTRAP TOPIC GROUP`. Prints one JSON object; exits 1 on failure.
'use strict'
const assert = require('node:assert/strict')
const { CompressionTypes, Kafka, logLevel } = require('kafkajs')

const [scenario, bootstrap, topic, group] = process.argv.slice(2)
const kafka = new Kafka({ clientId: 'kafkajs', brokers: [bootstrap], logLevel: logLevel.ERROR, retry: { initialRetryTime: 50, retries: 20 } })

const until = async (what, probe) => {
  const deadline = Date.now() + 60000
  while (!probe()) {
    assert.ok(Date.now() < deadline, `waited in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

// A running member of the group and what it has seen.
const member = async () => {
  const consumer = kafka.consumer({ groupId: group, heartbeatInterval: 300, sessionTimeout: 10000, maxWaitTimeInMs: 100 })
  const seen = { consumer, messages: [], share: [] }
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => { seen.share = payload.memberAssignment[topic] ?? [] })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({ eachMessage: async ({ partition, message }) => { seen.messages.push({ partition, ...message }) } })
  return seen
}

const scenarios = {
  // Records with keys, headers, nulls and timestamps, plain and gzipped (the codecs kafkajs has built in).
  async data () {
    const producer = kafka.producer()
    await producer.connect()
    const messages = [...Array(100).keys()].map((i) => ({
      key: `k${i % 7}`, value: `v${i}`, partition: 0, timestamp: String(1650000000000 + i), headers: { a: ['1', '2'], b: 'x' }
    }))
    messages.push({ key: 'gone', value: null, partition: 0 })
    const [first] = await producer.send({ topic, messages, acks: -1 })
    assert.deepEqual([first.errorCode, first.baseOffset], [0, '0'])
    await producer.send({ topic, messages, compression: CompressionTypes.GZIP })
    await producer.disconnect()
    const reader = await member()
    await until('all records', () => reader.messages.length >= 202)
    assert.equal(reader.messages.length, 202)
    reader.messages.forEach((m, i) => {
      const sent = messages[i % 101]
      assert.equal(m.offset, String(i))
      assert.equal(m.key.toString(), sent.key)
      assert.equal(m.value && m.value.toString(), sent.value)
      if (sent.timestamp) {
        assert.equal(m.timestamp, sent.timestamp)
        assert.deepEqual(m.headers.a.map(String), ['1', '2'])
        assert.equal(m.headers.b.toString(), 'x')
      }
    })
    await reader.consumer.disconnect()
  },

  async idempotent () {
    const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    for (let i = 0; i < 10; i++) {
      const [at] = await producer.send({ topic, messages: [{ value: `${i}`, partition: 0 }] })
      assert.equal(at.baseOffset, String(i))
    }
    await producer.disconnect()
  },

  // Two members share four partitions, one leaves, the other takes over where it was.
  async group () {
    const [one, two] = [await member(), await member()]
    await until('two shares', () => one.share.length === 2 && two.share.length === 2)
    const producer = kafka.producer()
    await producer.connect()
    const send = (from, to) => producer.send({
      topic, messages: [...Array(to - from).keys()].map((i) => ({ value: `${from + i}`, partition: (from + i) % 4 }))
    })
    await send(0, 40)
    await until('all records', () => one.messages.length + two.messages.length >= 40)
    assert.deepEqual([one.messages.length, two.messages.length], [20, 20])
    await two.consumer.disconnect()
    await until('all partitions', () => one.share.length === 4)
    await send(40, 44)
    await until('the rest', () => one.messages.length >= 24)
    const values = [...one.messages, ...two.messages].map((m) => Number(m.value)).sort((a, b) => a - b)
    assert.deepEqual(values, [...Array(44).keys()])
    await producer.disconnect()
    await one.consumer.disconnect()
  },

  async admin () {
    const admin = kafka.admin()
    await admin.connect()
    assert.equal(await admin.createTopics({ topics: [{ topic, numPartitions: 2 }], waitForLeaders: true }), true)
    assert.equal(await admin.createTopics({ topics: [{ topic }] }), false)
    await admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] })
    const offsets = await admin.fetchTopicOffsets(topic)
    assert.ok(offsets.every(({ offset }) => offset === '0'))
    const { brokers, controller } = await admin.describeCluster()
    assert.deepEqual([brokers.map((b) => b.nodeId), controller], [[1], 1])
    const { resources } = await admin.describeConfigs({ includeSynonyms: true, resources: [{ type: 2, name: topic }] })
    assert.ok(resources[0].configEntries.some(({ configName }) => configName === 'retention.ms'))
    await admin.setOffsets({ groupId: group, topic, partitions: [{ partition: 0, offset: '5' }] })
    const [committed] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
    assert.equal(committed.partitions.find(({ partition }) => partition === 0).offset, '5')
    await admin.deleteTopics({ topics: [topic] })
    await admin.disconnect()
  }
}

scenarios[scenario]().then(() => process.exit(0), (error) => { console.error(error); process.exit(1) })
