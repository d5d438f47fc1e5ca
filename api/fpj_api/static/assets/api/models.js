/**
 * What the API sends, as /api/v1/openapi.json describes it: types alone, which no page loads.
 *
 * @typedef {object} Progress
 * @property {number} total images
 * @property {number} completed
 * @property {number} skipped
 * @property {number} failed
 * @property {number} percent
 * @property {number} imagesPerSecond
 * @property {number|null} etaSeconds
 * @property {number} bytesWritten
 * @property {number} averageProcessingMs
 *
 * @typedef {{total: number, active: number, succeeded: number, failed: number}} ShardCounts
 *
 * @typedef {object} Job
 * @property {string} namespace
 * @property {string} name
 * @property {string} uid
 * @property {string} createdAt
 * @property {string|null} jobType
 * @property {string} collection
 * @property {string} phase
 * @property {string|null} stage
 * @property {string|null} reason
 * @property {string|null} message
 * @property {boolean} suspended
 * @property {boolean} deleting
 * @property {Progress} progress
 * @property {Record<string, number>} errors failed images by error type
 * @property {ShardCounts} shards
 * @property {number} recoveryAttempts
 * @property {string|null} startedAt
 * @property {string|null} completedAt
 * @property {string|null} lastProgressAt
 * @property {string|null} schedule
 * @property {string|null} bulk the bulk operation that made it
 * @property {string[]} actions those that its state allows, to whoever has the right
 * @property {Record<string, string>} refusals why its state does not allow each other one, in a sentence
 *
 * @typedef {object} Condition
 * @property {string} type
 * @property {string} status
 * @property {string} reason
 * @property {string} message
 * @property {string|null} lastTransitionTime
 *
 * @typedef {{at: string, type: string, reason: string, message: string, count: number}} JobEvent
 * @typedef {{spec: object, conditions: Condition[], events: JobEvent[]}} Detail
 * @typedef {Job & Detail} JobDetail
 *
 * @typedef {{key: string, type: string, message: string, attempts: number, ordinal: number}} FailedImage
 *
 * @typedef {object} Folder
 * @property {string} namespace
 * @property {string} name
 * @property {string} uid
 * @property {string} createdAt
 * @property {string} storage
 * @property {string} location
 * @property {string} layout
 * @property {number} priority
 * @property {number|null} maxBytes
 * @property {string} eviction
 * @property {number} highWatermark percent
 * @property {number} lowWatermark percent
 * @property {number|null} ttl seconds
 * @property {number|null} totalFiles
 * @property {number|null} totalBytes
 * @property {number|null} totalCollections
 * @property {Condition[]} conditions
 *
 * @typedef {{name: string, files: number, bytes: number}} Share
 *
 * @typedef {object} FolderRun
 * @property {number} number
 * @property {string} operation Evict, Verify or Repair
 * @property {string} cause
 * @property {string|null} startedAt
 * @property {string|null} endedAt null while it is active
 * @property {string|null} result
 * @property {number} failures in a row
 *
 * @typedef {object} LastEviction
 * @property {string|null} at
 * @property {string|null} cause
 * @property {number} files
 * @property {number} bytes
 * @property {Record<string, number>} byReason files
 * @property {number|null} usedBefore
 * @property {number|null} usedAfter
 * @property {string[]} shortfalls
 *
 * @typedef {object} LastVerification
 * @property {string|null} at
 * @property {string} operation
 * @property {number} compared
 * @property {number} missing
 * @property {number} wrongSize
 * @property {number} unrecorded
 * @property {number} leaving
 * @property {number} foreign
 * @property {number} unreadable
 * @property {number} repaired
 * @property {number} young
 * @property {string[]} busy
 * @property {string[]} troubles
 * @property {string[]} names
 *
 * @typedef {object} FolderMore
 * @property {boolean} deleting
 * @property {string|null} managedBy
 * @property {Record<string, any>} spec
 * @property {number|null} highBytes above them eviction starts
 * @property {number|null} lowBytes
 * @property {Share[]} tiers
 * @property {Share[]} collections
 * @property {FolderRun|null} run
 * @property {string[]} requested operations that are asked for and not started
 * @property {LastEviction|null} lastEviction
 * @property {LastVerification|null} lastVerification
 * @property {JobEvent[]} events
 * @property {boolean} mayChange
 * @property {boolean} mayPurge
 *
 * @typedef {Folder & FolderMore} FolderDetail
 *
 * @typedef {{name: string, files: number, bytes: number}} Part
 *
 * @typedef {object} PlannedFile
 * @property {string} collection
 * @property {string} tier
 * @property {string|null} source
 * @property {string|null} path
 * @property {number} bytes
 * @property {string} reason
 *
 * @typedef {{limit: string, name: string, shortBy: number, kept: Record<string, number>}} ShortLimit
 *
 * @typedef {object} CleanupPlan
 * @property {string} namespace
 * @property {string} name
 * @property {number} usedBytes
 * @property {number} files
 * @property {number} bytes
 * @property {Part[]} byReason
 * @property {Part[]} byCollection
 * @property {Part[]} byTier
 * @property {PlannedFile[]} first
 * @property {ShortLimit[]} shortfalls
 * @property {string[]} busy
 * @property {string|null} refusal
 *
 * @typedef {{source: string, tier: string, path: string, bytes: number}} PurgedFile
 *
 * @typedef {object} PurgePlan
 * @property {string} namespace
 * @property {string} cacheFolder
 * @property {string} collection
 * @property {number} files
 * @property {number} bytes
 * @property {Part[]} byTier
 * @property {PurgedFile[]} first
 * @property {string[]} unknown keys of images that were never seen
 * @property {boolean} busy
 *
 * @typedef {{urls: number, failed: number, message: string|null}} Notified
 *
 * @typedef {object} Purge
 * @property {string} namespace
 * @property {string} name
 * @property {string} uid
 * @property {string} createdAt
 * @property {string} cacheFolder
 * @property {string} collection
 * @property {string[]|null} images
 * @property {boolean} all
 * @property {string} phase
 * @property {boolean} finished
 * @property {string|null} message
 * @property {string|null} startedAt
 * @property {string|null} completedAt
 * @property {number|null} files
 * @property {number|null} bytes
 * @property {PurgedFile[]} receipt
 * @property {boolean} receiptTruncated
 * @property {Notified|null} notified
 * @property {Condition[]} conditions
 *
 * @typedef {{files: number, bytes: number}} TierStatistics
 *
 * @typedef {object} Statistics
 * @property {string} namespace
 * @property {string} collection
 * @property {number} images
 * @property {number} sourceBytes
 * @property {Record<string, TierStatistics>} tiers
 *
 * @typedef {object} Generated
 * @property {string} namespace
 * @property {string} collection
 * @property {string} job name of its new job
 * @property {"Planned"|"Created"|"Exists"|"NotCreated"} state
 * @property {string|null} problem
 * @property {string[]} copiedFrom
 * @property {string[]} usual sections with the usual settings
 * @property {string|null} active another job of the collection that has not ended
 *
 * @typedef {object} Operation
 * @property {string} id
 * @property {string} jobType
 * @property {boolean} dryRun
 * @property {number} created
 * @property {Generated[]} results
 *
 * @typedef {object} OperationImages
 * @property {number} total
 * @property {number} completed
 * @property {number} skipped
 * @property {number} failed
 * @property {number} percent
 * @property {number} imagesPerSecond
 * @property {number} bytesWritten
 *
 * @typedef {object} OperationJob
 * @property {string} namespace
 * @property {string} name
 * @property {string} collection
 * @property {string} phase
 * @property {boolean} finished
 * @property {boolean} deleting
 * @property {number} percent
 * @property {number} failed
 * @property {string|null} reason
 *
 * @typedef {object} OperationProgress
 * @property {string} id
 * @property {number} size jobs that it was to make
 * @property {number} jobs that are there
 * @property {number} finished
 * @property {Record<string, number>} phases
 * @property {OperationImages} progress
 * @property {OperationJob[]} items
 *
 * @typedef {object} Schedule
 * @property {string} namespace
 * @property {string} name
 * @property {string} uid
 * @property {string} createdAt
 * @property {string} schedule
 * @property {string|null} timeZone
 * @property {boolean} suspended
 * @property {string|null} nextAt
 * @property {string|null} lastAt
 * @property {string|null} lastSucceededAt
 * @property {string[]} active names of jobs
 * @property {string|null} reason
 * @property {string|null} message
 *
 * @typedef {{name: string, verbs: string[]}} NamespaceRights
 * @typedef {{items: NamespaceRights[], user: string|{name?: string, username?: string}}} Namespaces
 */

export {};
