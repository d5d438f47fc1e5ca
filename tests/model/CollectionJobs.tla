--------------------------- MODULE CollectionJobs ---------------------------
(***************************************************************************)
(* How a job makes the images of a collection that others want, too: lock, *)
(* fence, plan, count, hand over. docs/development/model.md says what is   *)
(* left out, and what was found.                                           *)
(*                                                                         *)
(* Every action is one step that the store or the API server carries out   *)
(* as a whole; whatever lies between two of them may take forever. A      *)
(* "Code:" line names a function that an action stands for, and a test     *)
(* holds that it exists. Of the two stores MongoDB's is named: in SQLite a *)
(* flush is one transaction, which allows fewer behaviours.                *)
(***************************************************************************)
EXTENDS Naturals, FiniteSets, TLC

CONSTANTS
    Procs,     \* pods: each is an index pod or a shard pod, dies, and may be started again as another
    Images,    \* how many there are; one shard of a plan covers them all, a batch is one image
    Attempts,  \* most attempts of the job: recovery.maxAttempts, and one
    Faults,    \* how often in all: a pod or the operator dies, a live pod is taken for dead, an answer is lost, the
               \* lock lapses, an attempt is disturbed (silence, suspension, another spec)
    Turns,     \* how often others take the lock
    None, Us, Others,
    LookAndPutAreOne,  \* a plan is looked at and put in one step: so in SQLite; in MongoDB others come between
    \* Planted errors: each is TRUE in the code, and with FALSE TLC finds a counterexample.
    CursorChecksEpoch, PlanIsFenced, PlannerIsChecked, RescueRaisesEpoch, RecordsCheckFence, ClaimLooksTwice,
    StopIsNotedFirst, BeginIsNotedFirst

VARIABLES
    lease,     \* the collection's lock: holder, fence, and whether it lapsed for want of renewal
    theirs,    \* fences under which others have had the lock
    status,    \* the resource's, by the API server: phase, attempt, and the attempt's fence
    record,    \* the job's, in the store: whether it is stopped, who plans which attempt, which one is planned
    plan,      \* the epoch and attempt of the latest plan (collection job_states)
    shards,    \* by attempt
    made,      \* by image: the fence its derivatives were recorded under; 0 for none
    procs,     \* where each pod stands, and what it believes
    op,        \* where the operator stands, and what it has in mind
    faults,    \* left
    gaveBack,  \* history: whether the job gave the lock back, and has not taken it since
    wrong      \* history: what was accepted and should not have been
vars == <<lease, theirs, status, record, plan, shards, made, procs, op, faults, gaveBack, wrong>>

NoShard == [state |-> "none", epoch |-> 0, cursor |-> 0, done |-> 0]
Off     == [pc |-> "off", attempt |-> 0, fence |-> 0, epoch |-> 0, cursor |-> 0, ahead |-> 0, counts |-> 0]
Idle    == [pc |-> "idle", fence |-> 0, attempt |-> 0]
Active  == {"Indexing", "Running"}
Ended   == {"Completed", "Failed"}
Max(S)  == CHOOSE x \in S : \A y \in S : y <= x

Init ==
    /\ lease  = [holder |-> None, fence |-> 0, lapsed |-> FALSE]
    /\ theirs = {}
    /\ status = [phase |-> "Pending", attempt |-> 0, fence |-> 0]
    /\ record = [phase |-> "none", planning |-> 0, planner |-> None, planned |-> 0]
    /\ plan   = [epoch |-> 0, attempt |-> 0]
    /\ shards = [a \in 1..Attempts |-> NoShard]
    /\ made   = [i \in 1..Images |-> 0]
    /\ procs  = [p \in Procs |-> Off]
    /\ op     = Idle
    /\ faults = Faults
    /\ gaveBack = FALSE
    /\ wrong  = {}

Fault == faults > 0 /\ faults' = faults - 1

---------------------------------------------------------------------------
(* Others, who follow the same rules. What they are about to write they may write late, under the fence that they had. *)

\* Code: fpj_core.store.mongodb_jobs:MongoJobs.acquire_lease
OthersLock ==
    /\ Cardinality(theirs) < Turns
    /\ lease.holder = None \/ (lease.holder = Us /\ lease.lapsed)
    /\ lease' = [holder |-> Others, fence |-> lease.fence + 1, lapsed |-> FALSE]
    /\ theirs' = theirs \union {lease.fence + 1}
    /\ UNCHANGED <<status, record, plan, shards, made, procs, op, faults, gaveBack, wrong>>

\* Code: fpj_core.store.mongodb_jobs:MongoJobs._record
OthersRecord ==
    /\ \E f \in theirs, i \in 1..Images : made[i] < f /\ made' = [made EXCEPT ![i] = f]
    /\ UNCHANGED <<lease, theirs, status, record, plan, shards, procs, op, faults, gaveBack, wrong>>

\* Code: fpj_core.store.mongodb_jobs:MongoJobs.release_lease
OthersRelease ==
    /\ lease.holder = Others
    /\ lease' = [lease EXCEPT !.holder = None]
    /\ UNCHANGED <<theirs, status, record, plan, shards, made, procs, op, faults, gaveBack, wrong>>

---------------------------------------------------------------------------
(* The operator. One leads; what it does takes several steps, and it may die between any two.                         *)

\* Code: fpj_operator.jobs.state:Observed.latest_attempt
Latest == Max({status.attempt, record.planning})

\* Code: fpj_operator.jobs.leases:Leases.acquire
Lock ==
    /\ op.pc = "idle" /\ status.phase \in {"Pending", "Recovering"} /\ Latest < Attempts
    /\ lease.holder \in {None, Us}
    /\ LET fence == Max({IF lease.holder = Us THEN lease.fence ELSE lease.fence + 1, status.fence + 1}) IN
        /\ lease' = [holder |-> Us, fence |-> fence, lapsed |-> FALSE]
        /\ op' = [Idle EXCEPT !.pc = "locked", !.fence = fence]
    /\ gaveBack' = FALSE
    /\ UNCHANGED <<theirs, status, record, plan, shards, made, procs, faults, wrong>>

\* Code: fpj_core.store.mongodb_jobs:MongoJobs.release_shards
TakenAway ==
    [a \in 1..Attempts |-> IF shards[a].state \in {"none", "succeeded"} THEN shards[a]
                           ELSE [shards[a] EXCEPT !.state = "pending", !.epoch = @ + 1]]

\* What is done before the status of an attempt that begins: what a suspension still owes, then the record.
\* Code: fpj_operator.jobs.reconcile:_Decision._begin
\* Code: fpj_operator.jobs.execute:Executor._record
NoteBegin ==
    /\ op.pc = "locked"
    /\ shards' = IF record.phase = "active" THEN TakenAway ELSE shards
    /\ record' = [record EXCEPT !.phase = "active", !.planning = IF BeginIsNotedFirst THEN Latest + 1 ELSE @]
    /\ op' = [op EXCEPT !.pc = "noted", !.attempt = Latest + 1]
    /\ UNCHANGED <<lease, theirs, status, plan, made, procs, faults, gaveBack, wrong>>

\* Code: fpj_operator.jobs.execute:Executor._write_status
Begin ==
    /\ op.pc = "noted"
    /\ status' = [phase |-> "Indexing", attempt |-> op.attempt, fence |-> op.fence]
    /\ op' = Idle
    /\ UNCHANGED <<lease, theirs, record, plan, shards, made, procs, faults, gaveBack, wrong>>

\* Code: fpj_operator.jobs.reconcile:_Decision._begin_running
\* Code: fpj_operator.jobs.evidence:evidence
Run ==
    /\ op.pc = "idle" /\ status.phase = "Indexing" /\ lease.holder = Us
    /\ record.planned = status.attempt /\ record.phase = "active"
    /\ status' = [status EXCEPT !.phase = "Running"]
    /\ UNCHANGED <<lease, theirs, record, plan, shards, made, procs, op, faults, gaveBack, wrong>>

\* The store is read a while before the status is written.
\* Code: fpj_operator.jobs.observe:_ask_store
\* Code: fpj_operator.jobs.evidence:_of_plan
SeeDone ==
    LET s == shards[status.attempt] IN
    /\ op.pc = "idle" /\ status.phase = "Running" /\ lease.holder = Us
    /\ record.planned = status.attempt /\ record.phase = "active"
    /\ s.state = "succeeded" /\ s.done = Images
    /\ op' = [op EXCEPT !.pc = "sawDone"]
    /\ UNCHANGED <<lease, theirs, status, record, plan, shards, made, procs, faults, gaveBack, wrong>>

\* Code: fpj_operator.jobs.reconcile:_Decision._finish
Complete ==
    /\ op.pc = "sawDone"
    /\ status' = [status EXCEPT !.phase = "Completed"]
    /\ op' = Idle
    /\ UNCHANGED <<lease, theirs, record, plan, shards, made, procs, faults, gaveBack, wrong>>

\* A disturbed attempt: first the record says so, then shards are taken away, then the status follows.
\* Code: fpj_operator.jobs.reconcile:_Decision._recover
\* Code: fpj_operator.jobs.reconcile:_Decision._suspend
\* Code: fpj_operator.jobs.reconcile:_Decision._lease_lost
Stop ==
    /\ op.pc = "idle" /\ status.phase \in Active
    /\ \/ Fault
       \/ (lease.holder # Us \/ record.phase = "stopped") /\ UNCHANGED faults
    /\ record' = IF StopIsNotedFirst THEN [record EXCEPT !.phase = "stopped"] ELSE record
    /\ op' = [op EXCEPT !.pc = "stopped"]
    /\ UNCHANGED <<lease, theirs, status, plan, shards, made, procs, gaveBack, wrong>>

\* Code: fpj_operator.jobs.execute:Executor._fence
Fence ==
    /\ op.pc = "stopped"
    /\ shards' = TakenAway
    /\ op' = [op EXCEPT !.pc = "fenced"]
    /\ UNCHANGED <<lease, theirs, status, record, plan, made, procs, faults, gaveBack, wrong>>

\* Code: fpj_operator.jobs.reconcile:_Decision._recover_or_fail
AfterFence ==
    /\ op.pc = "fenced"
    /\ status' = [status EXCEPT !.phase = IF status.attempt = Attempts THEN "Failed" ELSE "Recovering"]
    /\ record' = [record EXCEPT !.phase = "stopped"]
    /\ op' = Idle
    /\ UNCHANGED <<lease, theirs, plan, shards, made, procs, faults, gaveBack, wrong>>

\* The model runs out of attempts; the code counts recoveries.
\* Code: fpj_operator.jobs.reconcile:_Decision._fail
GiveUp ==
    /\ op.pc = "idle" /\ status.phase \in {"Pending", "Recovering"} /\ Latest >= Attempts
    /\ status' = [status EXCEPT !.phase = "Failed"]
    /\ record' = [record EXCEPT !.phase = "stopped"]
    /\ UNCHANGED <<lease, theirs, plan, shards, made, procs, op, faults, gaveBack, wrong>>

\* Of a job that has ended, or that waits for something else between two attempts.
\* Code: fpj_operator.jobs.leases:Leases.release
\* Code: fpj_operator.jobs.reconcile:_Decision._wait
\* Code: fpj_operator.jobs.reconcile:_Decision._aftermath
Release ==
    /\ op.pc = "idle" /\ status.phase \in Ended \union {"Recovering"} /\ lease.holder = Us
    /\ lease' = [lease EXCEPT !.holder = None, !.lapsed = FALSE]
    /\ gaveBack' = TRUE
    /\ UNCHANGED <<theirs, status, record, plan, shards, made, procs, op, faults, wrong>>

\* Code: fpj_operator.jobs.reconcile:_Decision.renewed_first
\* Code: fpj_core.store.mongodb_jobs:MongoJobs.renew_lease
Renew ==
    /\ op.pc = "idle" /\ status.phase \in Active /\ lease.holder = Us /\ lease.lapsed
    /\ lease' = [lease EXCEPT !.lapsed = FALSE]
    /\ UNCHANGED <<theirs, status, record, plan, shards, made, procs, op, faults, gaveBack, wrong>>

\* Nobody renewed it in time: the API server was away, or the operator.
\* Code: fpj_operator.jobs.leases:Leases._view
Lapse ==
    /\ lease.holder = Us /\ ~lease.lapsed /\ Cardinality(theirs) < Turns /\ Fault
    /\ lease' = [lease EXCEPT !.lapsed = TRUE]
    /\ UNCHANGED <<theirs, status, record, plan, shards, made, procs, op, gaveBack, wrong>>

\* The next leader decides by what it reads.
\* Code: fpj_operator.election:Election.hold
OperatorDies ==
    /\ op # Idle /\ Fault
    /\ op' = Idle
    /\ UNCHANGED <<lease, theirs, status, record, plan, shards, made, procs, gaveBack, wrong>>

---------------------------------------------------------------------------
(* Pods. One that was started for an attempt keeps its task, however late it is.                                      *)

Become(p, changed) == procs' = [procs EXCEPT ![p] = changed]
Leave(p) == Become(p, Off)

Planning == {"index", "started", "numbered", "checked", "put"}

\* A second index pod is started only for one whose node is lost, and which may go on. Any shard pod rescues.
\* Code: fpj_operator.jobs.children:index_job
\* Code: fpj_operator.jobs.children:shards_job
StartPod(p) ==
    /\ procs[p].pc = "off" /\ status.phase \in Active
    /\ IF status.phase = "Running"
        THEN shards[status.attempt].state # "succeeded" /\ UNCHANGED faults
        ELSE /\ record.planned # status.attempt
             /\ IF \E q \in Procs : procs[q].pc \in Planning /\ procs[q].attempt = status.attempt
                 THEN Fault ELSE UNCHANGED faults
    /\ Become(p, [Off EXCEPT !.pc = IF status.phase = "Indexing" THEN "index" ELSE "shard",
                             !.attempt = status.attempt, !.fence = status.fence])
    /\ UNCHANGED <<lease, theirs, status, record, plan, shards, made, op, gaveBack, wrong>>

\* Code: fpj_worker.pod.run:run
PodDies(p) ==
    /\ procs[p].pc # "off" /\ Fault
    /\ Leave(p)
    /\ UNCHANGED <<lease, theirs, status, record, plan, shards, made, op, gaveBack, wrong>>

\* Code: fpj_worker.pod.index:_Record.begin
IndexBegin(p) ==
    LET q == procs[p] IN
    /\ q.pc = "index"
    /\ IF record.phase = "stopped" \/ record.planning > q.attempt \/ record.planned = q.attempt
        THEN Leave(p) /\ UNCHANGED record
        ELSE /\ record' = [record EXCEPT !.planning = q.attempt, !.planner = p]
             /\ Become(p, [q EXCEPT !.pc = "started"])
    /\ UNCHANGED <<lease, theirs, status, plan, shards, made, op, faults, gaveBack, wrong>>

\* Code: fpj_core.store.mongodb_jobs:MongoJobs._next_epoch
NumberPlan(p) ==
    LET q == procs[p]
        epoch == Max({plan.epoch} \union {shards[a].epoch : a \in 1..Attempts}) + 1 IN
    /\ q.pc = "started"
    /\ IF plan.attempt > q.attempt
        THEN Leave(p) /\ UNCHANGED plan
        ELSE /\ plan' = [epoch |-> epoch, attempt |-> q.attempt]
             /\ Become(p, [q EXCEPT !.pc = IF LookAndPutAreOne THEN "checked" ELSE "numbered", !.epoch = epoch])
    /\ UNCHANGED <<lease, theirs, status, record, shards, made, op, faults, gaveBack, wrong>>

Outdated(p) ==
    LET q == procs[p] IN
    \/ record.planned >= q.attempt
    \/ PlannerIsChecked /\ record.planner # p
    \/ plan # [epoch |-> q.epoch, attempt |-> q.attempt]

\* Code: fpj_core.store.mongodb_jobs:MongoJobs._check_plan
CheckPlan(p) ==
    /\ procs[p].pc = "numbered"
    /\ IF PlanIsFenced /\ Outdated(p) THEN Leave(p) ELSE Become(p, [procs[p] EXCEPT !.pc = "checked"])
    /\ UNCHANGED <<lease, theirs, status, record, plan, shards, made, op, faults, gaveBack, wrong>>

\* What is recorded already counts at once. A shard of a later plan is left alone. Wrong is to touch the plan that pods
\* work by; shards that come late for an attempt that is over are read by nobody.
\* Code: fpj_core.store.mongodb_jobs:MongoJobs.put_shards
\* Code: fpj_worker.planner:Planner.plan
PutShard(p) ==
    LET q == procs[p] s == shards[q.attempt]
        done == Cardinality({i \in 1..Images : made[i] > 0}) IN
    /\ q.pc = "checked"
    /\ IF PlanIsFenced /\ (s.epoch > q.epoch \/ (LookAndPutAreOne /\ Outdated(p)))
        THEN Leave(p) /\ UNCHANGED <<shards, wrong>>
        ELSE /\ shards' = [shards EXCEPT ![q.attempt] =
                            [state |-> "pending", epoch |-> q.epoch, cursor |-> 0, done |-> done]]
             /\ wrong' = IF record.planned = q.attempt THEN wrong \union {"plan"} ELSE wrong
             /\ Become(p, [q EXCEPT !.pc = "put"])
    /\ UNCHANGED <<lease, theirs, status, record, plan, made, op, faults, gaveBack>>

\* Code: fpj_worker.pod.index:_Record.finish
\* Code: fpj_core.jobs:change_job
RecordPlan(p) ==
    LET q == procs[p] IN
    /\ q.pc = "put"
    /\ IF record.phase = "stopped" \/ record.planning > q.attempt \/ record.planner # p
        THEN Leave(p) /\ UNCHANGED record
        ELSE /\ record' = [record EXCEPT !.planned = q.attempt]
             /\ IF q.attempt > 1 THEN Become(p, [q EXCEPT !.pc = "planned"]) ELSE Leave(p)
    /\ UNCHANGED <<lease, theirs, status, plan, shards, made, op, faults, gaveBack, wrong>>

\* Code: fpj_core.store.mongodb_jobs:MongoJobs.delete_attempts
DeleteOlder(p) ==
    LET q == procs[p] IN
    /\ q.pc = "planned"
    /\ shards' = [a \in 1..Attempts |-> IF a < q.attempt THEN NoShard ELSE shards[a]]
    /\ Leave(p)
    /\ UNCHANGED <<lease, theirs, status, record, plan, made, op, faults, gaveBack, wrong>>

\* Code: fpj_core.jobs:refuse_stopped
\* Code: fpj_worker.pod.shard:_Claims.check_attempt
Refused(p) ==
    record.phase = "stopped" \/ record.planning > procs[p].attempt \/ record.planned # procs[p].attempt

\* Code: fpj_worker.pod.shard:_Claims.own
Look(p) ==
    /\ procs[p].pc = "shard"
    /\ IF Refused(p) THEN Leave(p) ELSE Become(p, [procs[p] EXCEPT !.pc = "looked"])
    /\ UNCHANGED <<lease, theirs, status, record, plan, shards, made, op, faults, gaveBack, wrong>>

Lives(a, epoch) == \E p \in Procs : procs[p].attempt = a /\ procs[p].epoch = epoch

\* A shard that is handed back, or whose holder has been silent for long: it is dead, or else is taken for dead.
\* Code: fpj_core.store.mongodb_jobs:MongoJobs.claim_shard
\* Code: fpj_worker.pod.shard:_rescue
Claim(p) ==
    LET q == procs[p] s == shards[q.attempt]
        epoch == IF s.state = "running" /\ ~RescueRaisesEpoch THEN s.epoch ELSE s.epoch + 1 IN
    /\ q.pc = "looked"
    /\ IF s.state \in {"none", "succeeded"}
        THEN Leave(p) /\ UNCHANGED <<shards, faults>>
        ELSE /\ IF s.state = "running" /\ Lives(q.attempt, s.epoch) THEN Fault ELSE UNCHANGED faults
             /\ shards' = [shards EXCEPT ![q.attempt] = [@ EXCEPT !.state = "running", !.epoch = epoch]]
             /\ Become(p, [q EXCEPT !.pc = "claimed", !.epoch = epoch, !.cursor = s.cursor])
    /\ UNCHANGED <<lease, theirs, status, record, plan, made, op, gaveBack, wrong>>

Holds(p) == shards[procs[p].attempt].epoch = procs[p].epoch

\* Code: fpj_worker.pod.shard:_Claims._still_ours
\* Code: fpj_worker.shard:ShardProcessor._count_ahead
LookAgain(p) ==
    LET q == procs[p] s == shards[q.attempt] IN
    /\ q.pc = "claimed"
    /\ IF ClaimLooksTwice /\ Refused(p)
        THEN /\ shards' = IF Holds(p) THEN [shards EXCEPT ![q.attempt].state = "pending"] ELSE shards
             /\ Leave(p)
        ELSE /\ Become(p, [q EXCEPT !.pc = "work", !.ahead = (Images - q.cursor) + s.done - Images])
             /\ UNCHANGED shards
    /\ UNCHANGED <<lease, theirs, status, record, plan, made, op, faults, gaveBack, wrong>>

\* Reads the next image, makes it if need be, and begins to flush: the epoch is looked at for the first time.
\* Code: fpj_worker.shard:ShardProcessor._take
\* Code: fpj_core.store.mongodb_jobs:MongoJobs._change_held
Make(p) ==
    LET q == procs[p] recorded == made[q.cursor + 1] > 0 planned == recorded /\ q.ahead > 0 IN
    /\ q.pc = "work" /\ q.cursor < Images
    /\ IF ~Holds(p)
        THEN Leave(p)
        ELSE Become(p, [q EXCEPT !.pc = IF recorded THEN "recorded" ELSE "made",
                                 !.counts = IF planned THEN 0 ELSE 1, !.ahead = IF planned THEN @ - 1 ELSE @])
    /\ UNCHANGED <<lease, theirs, status, record, plan, shards, made, op, faults, gaveBack, wrong>>

\* Code: fpj_worker.shard:ShardProcessor._flush
\* Code: fpj_core.store.mongodb_jobs:MongoJobs._record
Record(p) ==
    LET q == procs[p] i == q.cursor + 1 IN
    /\ q.pc = "made"
    /\ IF made[i] <= q.fence \/ ~RecordsCheckFence
        THEN /\ made' = [made EXCEPT ![i] = q.fence]
             /\ wrong' = IF made[i] > q.fence THEN wrong \union {"record"} ELSE wrong
        ELSE UNCHANGED <<made, wrong>>
    /\ Become(p, [q EXCEPT !.pc = "recorded"])
    /\ UNCHANGED <<lease, theirs, status, record, plan, shards, op, faults, gaveBack>>

\* What was accepted of a pod: it should hold its shard, its job the lock unless that was lost, its attempt be the one.
Accepted(p) ==
    wrong \union (IF Holds(p) THEN {} ELSE {"cursor"})
          \union (IF gaveBack THEN {"handed over"} ELSE {})
          \union (IF status.phase = "Running" /\ status.attempt # procs[p].attempt THEN {"attempt"} ELSE {})

\* With an answer that is lost the pod sends the batch again, and must not count it twice.
\* Code: fpj_core.store.mongodb_jobs:MongoJobs.flush
Move(p) ==
    LET q == procs[p] s == shards[q.attempt] next == [q EXCEPT !.pc = "work", !.cursor = @ + 1, !.counts = 0] IN
    /\ q.pc = "recorded"
    /\ IF s.state # "none" /\ s.cursor = q.cursor /\ (Holds(p) \/ ~CursorChecksEpoch)
        THEN /\ shards' = [shards EXCEPT ![q.attempt] = [@ EXCEPT !.cursor = q.cursor + 1, !.done = @ + q.counts]]
             /\ wrong' = Accepted(p)
             /\ \/ Become(p, next) /\ UNCHANGED faults
                \/ Fault /\ UNCHANGED procs
        ELSE /\ IF Holds(p) /\ s.cursor = q.cursor + 1 THEN Become(p, next) ELSE Leave(p)
             /\ UNCHANGED <<shards, faults, wrong>>
    /\ UNCHANGED <<lease, theirs, status, record, plan, made, op, gaveBack>>

\* Code: fpj_core.store.mongodb_jobs:MongoJobs.finish_shard
\* Code: fpj_worker.shard:ShardProcessor.complete
Finish(p) ==
    LET q == procs[p] IN
    /\ q.pc = "work" /\ q.cursor = Images
    /\ IF Holds(p)
        THEN /\ shards' = [shards EXCEPT ![q.attempt].state = "succeeded"]
             /\ wrong' = Accepted(p)
        ELSE UNCHANGED <<shards, wrong>>
    /\ Leave(p)
    /\ UNCHANGED <<lease, theirs, status, record, plan, made, op, faults, gaveBack>>

---------------------------------------------------------------------------
Operator == Lock \/ NoteBegin \/ Begin \/ Run \/ SeeDone \/ Complete \/ Stop \/ Fence \/ AfterFence \/ GiveUp
            \/ Release \/ Renew
Pod(p) == IndexBegin(p) \/ NumberPlan(p) \/ CheckPlan(p) \/ PutShard(p) \/ RecordPlan(p) \/ DeleteOlder(p)
          \/ Look(p) \/ Claim(p) \/ LookAgain(p) \/ Make(p) \/ Record(p) \/ Move(p) \/ Finish(p)

Next == OthersLock \/ OthersRecord \/ OthersRelease \/ Lapse \/ OperatorDies \/ Operator
        \/ (\E p \in Procs : Pod(p) \/ PodDies(p) \/ StartPod(p))

\* Whoever can go on does so in the end: the operator reconciles now and then, the Job controller starts pods, and
\* others give the lock back.
Fair == WF_vars(Operator) /\ WF_vars(OthersRelease) /\ \A p \in Procs : WF_vars(Pod(p)) /\ WF_vars(StartPod(p))
Spec == Init /\ [][Next]_vars /\ Fair

---------------------------------------------------------------------------
(* What must hold.                                                                                                    *)

\* Nothing is accepted of who lost the shard, of a plan that was replaced, or over what a later holder recorded.
NoFencedWrite == wrong \intersect {"cursor", "plan", "record"} = {}

\* While an attempt runs, only its own writes count.
OneAttemptCounts == "attempt" \notin wrong

\* Once the job has given the lock back, none of its pods moves or finishes a shard.
OneHolderWrites == "handed over" \notin wrong

CountsNeverDouble ==
    \A a \in 1..Attempts :
        LET s == shards[a] IN s.done <= Images /\ (s.state = "succeeded" => s.cursor = Images /\ s.done = Images)

CompletedMeansAll ==
    status.phase = "Completed" =>
        /\ LET s == shards[status.attempt] IN s.state = "succeeded" /\ s.cursor = Images /\ s.done = Images
        /\ \A i \in 1..Images : made[i] > 0

\* As long as pods can be started, the job ends.
TheJobEnds == <>(status.phase \in Ended)

Symmetry == Permutations(Procs)
=============================================================================
