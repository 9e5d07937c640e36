/** The control plane of topics: checks and answers. The changes are those of `Topics`, `Groups` and `Origins`. */
import { CoreError } from '../errors.ts';
import type { MessageOrigin } from '../message.ts';
import { checkName } from '../names.ts';
import type { Topology } from '../topology.ts';
import type { Vhost } from '../vhost.ts';
import type {
  GroupInfo,
  OffsetCommit,
  OriginInfo,
  ShareGroupInfo,
  ShareSettings,
  TopicAdmin as TopicAdminDoor,
  TopicInfo,
  TopicSettings,
} from './door.ts';
import type { Group } from './group.ts';
import { checkSameTopic, checkTopicSettings, topicInfo } from './settings.ts';

export class TopicAdmin implements TopicAdminDoor {
  readonly #topology: Topology;

  constructor(topology: Topology) {
    this.#topology = topology;
  }

  // ---- Topics -----------------------------------------------------------------------------------------------------

  async create(vhostName: string, name: string, settings: TopicSettings): Promise<TopicInfo> {
    const vhost = this.#vhost(vhostName);
    const { limits } = this.#topology.engine;
    let topic = vhost.topics.get(name);
    if (topic !== undefined) {
      checkSameTopic(topic, settings);
    } else {
      checkName(name, 'topic', limits);
      if (vhost.queues.has(name)) throw new CoreError('already-exists', `'${name}' is a queue`);
      checkTopicSettings(settings, limits);
      if (vhost.topics.size >= limits.topicsPerVhostMax) {
        throw new CoreError('limit-exceeded', `${limits.topicsPerVhostMax} topics in virtual host '${vhostName}'`);
      }
      topic = this.#topology.topics.declare(vhost, name, { ...settings });
    }
    const info = topicInfo(topic);
    await this.#durable();
    return info;
  }

  async alter(vhostName: string, name: string, settings: TopicSettings): Promise<TopicInfo> {
    const topic = this.#vhost(vhostName).topicOf(name);
    checkTopicSettings(settings, this.#topology.engine.limits, topic.partitions.length);
    this.#topology.topics.alter(topic, { ...settings });
    const info = topicInfo(topic);
    await this.#durable();
    return info;
  }

  async delete(vhostName: string, name: string): Promise<void> {
    const vhost = this.#vhost(vhostName);
    vhost.deleteTopic(vhost.topicOf(name));
    await this.#durable();
  }

  async truncate(vhostName: string, name: string, number: number, offset: number): Promise<number> {
    const partition = this.#vhost(vhostName).topicOf(name).partition(number);
    if (!Number.isSafeInteger(offset) || offset < 0 || offset > partition.durableEnd) {
      const { durableEnd } = partition;
      throw new CoreError('offset-out-of-range', `${offset}; partition ${number} of '${name}' ends at ${durableEnd}`);
    }
    this.#topology.topics.moveStart(partition, offset);
    const { start } = partition;
    await this.#durable();
    return start;
  }

  get(vhostName: string, name: string): TopicInfo | undefined {
    const topic = this.#vhost(vhostName).topics.get(name);
    return topic === undefined ? undefined : topicInfo(topic);
  }

  list(vhostName: string): TopicInfo[] {
    return [...this.#vhost(vhostName).topics.values()].map(topicInfo);
  }

  // ---- Groups -----------------------------------------------------------------------------------------------------

  group(vhostName: string, name: string): GroupInfo | undefined {
    return this.#topology.topics.groups.get(this.#vhost(vhostName), name)?.info();
  }

  groups(vhostName: string): GroupInfo[] {
    return this.#topology.topics.groups.all(this.#vhost(vhostName)).map((group) => group.info());
  }

  async setOffsets(vhostName: string, name: string, offsets: readonly OffsetCommit[]): Promise<void> {
    this.#topology.topics.groups.use(this.#vhost(vhostName), name, (group) => {
      if (group.members.size > 0) throw new CoreError('in-use', `group '${name}' has ${group.members.size} members`);
      group.commit(group.find(offsets), group.epoch);
    });
    await this.#durable();
  }

  async deleteGroup(vhostName: string, name: string): Promise<void> {
    const { topics, engine } = this.#topology;
    topics.groups.delete(engine, this.#group(vhostName, name));
    await this.#durable();
  }

  #group(vhostName: string, name: string): Group {
    const group = this.#topology.topics.groups.get(this.#vhost(vhostName), name);
    if (group === undefined) throw new CoreError('not-found', `group '${name}' in virtual host '${vhostName}'`);
    return group;
  }

  // ---- Share groups -----------------------------------------------------------------------------------------------

  shareGroups(vhostName: string, topic: string): ShareGroupInfo[] {
    const { shares } = this.#topology.topics;
    return shares.all(this.#vhost(vhostName).topicOf(topic)).map((group) => group.info());
  }

  async setShareGroup(
    vhostName: string,
    topicName: string,
    name: string,
    settings: ShareSettings,
  ): Promise<ShareGroupInfo> {
    const { shares } = this.#topology.topics;
    const group = shares.set(this.#vhost(vhostName).topicOf(topicName), name, settings);
    await this.#durable();
    return group.info();
  }

  async deleteShareGroup(vhostName: string, topicName: string, name: string): Promise<void> {
    const { shares } = this.#topology.topics;
    const group = shares.get(this.#vhost(vhostName).topicOf(topicName), name);
    if (group === undefined) throw new CoreError('not-found', `share group '${name}' of topic '${topicName}'`);
    shares.delete(group);
    await this.#durable();
  }

  // ---- Idempotent producers ---------------------------------------------------------------------------------------

  async openOrigin(vhostName: string, name = ''): Promise<MessageOrigin> {
    const origin = this.#topology.topics.origins.open(this.#vhost(vhostName), name);
    await this.#durable();
    return origin;
  }

  origins(vhostName: string): OriginInfo[] {
    return this.#topology.topics.origins.list(this.#vhost(vhostName));
  }

  async deleteOrigin(vhostName: string, name: string): Promise<void> {
    this.#topology.topics.origins.delete(this.#vhost(vhostName), name);
    await this.#durable();
  }

  #vhost(name: string): Vhost {
    return this.#topology.vhost(name);
  }

  #durable(): Promise<void> {
    return this.#topology.engine.whenDurable();
  }
}
