//! What is supported: the instructions that have decoders of their own, as the decoder itself looks them up, and the
//! page of the documentation that lists these and the forms.

/// What a load or store moves: of its values 16 bytes at most, but for global memory.
macro_rules! up_to_16_bytes {
    () => {
        ".{v2,v4}?.{b8,b16,b32,u8,u16,u32,s8,s16,s32,f32}"
    };
}
macro_rules! long {
    () => {
        ".{v2}?.{b64,u64,s64,f64}"
    };
}
macro_rules! of_32_bytes {
    () => {
        ".{v4.b64,v4.u64,v4.s64,v4.f64,v8.b32,v8.u32,v8.s32,v8.f32}"
    };
}

/// How loads and stores are to be cached; those of 32 bytes have a priority in the second level too.
macro_rules! cached {
    () => {
        ".{L1::evict_normal,L1::evict_unchanged,L1::evict_first,L1::evict_last,L1::no_allocate}?.{L2::cache_hint}?"
    };
}
macro_rules! cached_of_32_bytes {
    () => {
        ".{L1::evict_normal,L1::evict_unchanged,L1::evict_first,L1::evict_last,L1::no_allocate}?\
         .{L2::evict_normal,L2::evict_first,L2::evict_last}?.{L2::cache_hint}?"
    };
}
macro_rules! prefetched {
    () => {
        ".{L2::64B,L2::128B,L2::256B}?"
    };
}

/// The spellings of instructions that have a decoder of their own, by root. The modifiers that may stand at a place are in
/// braces, and `?` says that there may be none. What is not here is not decoded, except if it is a form.
pub(super) const SPELLINGS: &[&str] = &[
    "bra.{uni}?",
    "ret.{uni}?",
    "brx.idx.{uni}?",
    "call.{uni}?",
    "exit",
    "trap",
    "brkpt",
    "griddepcontrol.{wait,launch_dependents}",
    "nanosleep.u32",
    "pmevent.{mask}?",
    "activemask.b32",
    "bar.{cta}?.{sync,arrive}",
    "bar.{cta}?.red.popc.u32",
    "bar.{cta}?.red.{and,or}.pred",
    "bar.warp.sync",
    "barrier.{cta}?.{sync,arrive}.{aligned}?",
    "barrier.{cta}?.red.popc.{aligned}?.u32",
    "barrier.{cta}?.red.{and,or}.{aligned}?.pred",
    "barrier.cluster.arrive.{release,relaxed}?.{aligned}?",
    "barrier.cluster.wait.{acquire}?.{aligned}?",
    "{mapa,getctarank}.{u64,shared::cluster.u32,shared::cluster.u64}",
    "membar.{cta,gl,sys}",
    "membar.proxy.alias",
    "fence.{sc,acq_rel,acquire,release}?.{cta,cluster,gpu,sys}",
    "fence.proxy.{alias,async,async.global,async.shared::cta,async.shared::cluster}",
    "fence.proxy.tensormap::generic.{acquire,release}.{cta,cluster,gpu,sys}",
    "fence.mbarrier_init.release.cluster",
    "fence.{acquire.sync_restrict::shared::cluster,release.sync_restrict::shared::cta}.cluster",
    "fence.proxy.async::generic\
     .{acquire.sync_restrict::shared::cluster,release.sync_restrict::shared::cta}.cluster",
    "shfl.sync.{up,down,bfly,idx}.b32",
    "vote.sync.{all,any,uni}.pred",
    "vote.sync.ballot.b32",
    "elect.sync",
    "match.{any,all}.sync.{b32,b64}",
    "redux.sync.{add,min,max}.{u32,s32}",
    "redux.sync.{and,or,xor}.b32",
    concat!(
        "ld.{weak}?.{const,global,local,param,param::entry,param::func,shared,shared::cta,shared::cluster}?.{ca,cg,cs,lu,cv}?",
        cached!(),
        prefetched!(),
        up_to_16_bytes!()
    ),
    concat!(
        "ld.{weak}?.{const,global,local,param,param::entry,param::func,shared,shared::cta,shared::cluster}?.{ca,cg,cs,lu,cv}?",
        cached!(),
        prefetched!(),
        long!()
    ),
    concat!("ld.{weak}?.global.{ca,cg,cs,lu,cv}?", cached_of_32_bytes!(), prefetched!(), of_32_bytes!()),
    concat!("ld.global.{ca,cg,cs}?.nc", cached!(), prefetched!(), up_to_16_bytes!()),
    concat!("ld.global.{ca,cg,cs}?.nc", cached!(), prefetched!(), long!()),
    concat!("ld.global.{ca,cg,cs}?.nc", cached_of_32_bytes!(), prefetched!(), of_32_bytes!()),
    concat!("ld.volatile.{global,shared,shared::cta,shared::cluster}?", prefetched!(), up_to_16_bytes!()),
    concat!("ld.volatile.{global,shared,shared::cta,shared::cluster}?", prefetched!(), long!()),
    concat!("ld.volatile.global", prefetched!(), of_32_bytes!()),
    concat!(
        "ld.{relaxed,acquire}.{cta,cluster,gpu,sys}.{global,shared,shared::cta,shared::cluster}?",
        cached!(),
        prefetched!(),
        up_to_16_bytes!()
    ),
    concat!(
        "ld.{relaxed,acquire}.{cta,cluster,gpu,sys}.{global,shared,shared::cta,shared::cluster}?",
        cached!(),
        prefetched!(),
        long!()
    ),
    concat!("ld.{relaxed,acquire}.{cta,cluster,gpu,sys}.global", cached_of_32_bytes!(), prefetched!(), of_32_bytes!()),
    "ld.mmio.relaxed.sys.{global}?.{b8,b16,b32,b64,u8,u16,u32,u64,s8,s16,s32,s64,f32,f64}",
    concat!("ldu.{global}?", up_to_16_bytes!()),
    concat!("ldu.{global}?", long!()),
    concat!(
        "st.{weak}?.{global,local,param,param::func,shared,shared::cta,shared::cluster}?.{wb,cg,cs,wt}?",
        cached!(),
        up_to_16_bytes!()
    ),
    concat!(
        "st.{weak}?.{global,local,param,param::func,shared,shared::cta,shared::cluster}?.{wb,cg,cs,wt}?",
        cached!(),
        long!()
    ),
    concat!("st.{weak}?.global.{wb,cg,cs,wt}?", cached_of_32_bytes!(), of_32_bytes!()),
    concat!("st.volatile.{global,shared,shared::cta,shared::cluster}?", up_to_16_bytes!()),
    concat!("st.volatile.{global,shared,shared::cta,shared::cluster}?", long!()),
    concat!("st.volatile.global", of_32_bytes!()),
    concat!(
        "st.{relaxed,release}.{cta,cluster,gpu,sys}.{global,shared,shared::cta,shared::cluster}?",
        cached!(),
        up_to_16_bytes!()
    ),
    concat!(
        "st.{relaxed,release}.{cta,cluster,gpu,sys}.{global,shared,shared::cta,shared::cluster}?",
        cached!(),
        long!()
    ),
    concat!("st.{relaxed,release}.{cta,cluster,gpu,sys}.global", cached_of_32_bytes!(), of_32_bytes!()),
    "st.mmio.relaxed.sys.{global}?.{b8,b16,b32,b64,u8,u16,u32,u64,s8,s16,s32,s64,f32,f64}",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta,shared::cluster}?\
     .{add,min,max}.{L2::cache_hint}?.{u32,s32,u64,s64}",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta,shared::cluster}?\
     .add.{L2::cache_hint}?.{f32,f64}",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta,shared::cluster}?\
     .add.noftz.{L2::cache_hint}?.{f16,bf16,f16x2,bf16x2}",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta,shared::cluster}?\
     .{and,or,xor,exch}.{L2::cache_hint}?.{b32,b64}",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta,shared::cluster}?\
     .{inc,dec}.{L2::cache_hint}?.u32",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta,shared::cluster}?.cas.{b16,b32,b64}",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.global.{v2,v4}.f32.add",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.global.{v2,v4,v8}.{f16,bf16}.{add,min,max}.noftz",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.global.{v2,v4}.{f16x2,bf16x2}.{add,min,max}.noftz",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.global.add.{L2::cache_hint}?.{v2,v4}.f32",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.global.{add,min,max}.noftz.{L2::cache_hint}?\
     .{v2,v4,v8}.{f16,bf16}",
    "atom.{relaxed,acquire,release,acq_rel}?.{cta,cluster,gpu,sys}?.global.{add,min,max}.noftz.{L2::cache_hint}?\
     .{v2,v4}.{f16x2,bf16x2}",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta,shared::cluster}?\
     .{add,min,max}.{L2::cache_hint}?.{u32,s32,u64,s64}",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta,shared::cluster}?.add.{L2::cache_hint}?.{f32,f64}",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta,shared::cluster}?\
     .add.noftz.{L2::cache_hint}?.{f16,bf16,f16x2,bf16x2}",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta,shared::cluster}?.{and,or,xor}.{L2::cache_hint}?.{b32,b64}",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.{global,shared,shared::cta,shared::cluster}?.{inc,dec}.{L2::cache_hint}?.u32",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.global.{v2,v4}.f32.add",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.global.{v2,v4,v8}.{f16,bf16}.{add,min,max}.noftz",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.global.{v2,v4}.{f16x2,bf16x2}.{add,min,max}.noftz",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.global.add.{L2::cache_hint}?.{v2,v4}.f32",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.global.{add,min,max}.noftz.{L2::cache_hint}?.{v2,v4,v8}.{f16,bf16}",
    "red.{relaxed,release}?.{cta,cluster,gpu,sys}?.global.{add,min,max}.noftz.{L2::cache_hint}?.{v2,v4}.{f16x2,bf16x2}",
    "prefetch.{global,local}?.{L1,L2}",
    "prefetch.global.{L2::evict_last,L2::evict_normal}",
    "prefetchu.L1",
    "discard.{global}?.L2",
    "applypriority.{global}?.L2::evict_normal",
    "createpolicy.fractional.{L2::evict_last,L2::evict_normal,L2::evict_first,L2::evict_unchanged}\
     .{L2::evict_first,L2::evict_unchanged}?.b64",
    "createpolicy.range.{global}?.{L2::evict_last,L2::evict_normal,L2::evict_first,L2::evict_unchanged}\
     .{L2::evict_first,L2::evict_unchanged}?.b64",
    "createpolicy.cvt.L2.b64",
    "cp.async.{ca,cg}.{shared,shared::cta}.global.{L2::cache_hint}?.{L2::64B,L2::128B,L2::256B}?",
    "cp.async.commit_group",
    "cp.async.wait_group",
    "cp.async.wait_all",
    "cp.async.mbarrier.arrive.{noinc}?.{shared,shared::cta}?.b64",
    "mbarrier.{init,inval}.{shared,shared::cta}?.b64",
    "mbarrier.{expect_tx,complete_tx}.{relaxed.cta,relaxed.cluster}?.{shared,shared::cta,shared::cluster}?.b64",
    "mbarrier.{arrive,arrive_drop}.{expect_tx}?.{release.cta,release.cluster,relaxed.cta,relaxed.cluster}?\
     .{shared,shared::cta,shared::cluster}?.b64",
    "mbarrier.{arrive,arrive_drop}.noComplete.{release.cta}?.{shared,shared::cta}?.b64",
    "mbarrier.{test_wait,try_wait}.{parity}?.{acquire.cta,acquire.cluster,relaxed.cta,relaxed.cluster}?\
     .{shared,shared::cta}?.b64",
    "mbarrier.pending_count.b64",
    "cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes.{L2::cache_hint}?",
    "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.{multicast::cluster}?.{L2::cache_hint}?",
    "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes",
    "cp.async.bulk.global.shared::cta.bulk_group.{L2::cache_hint}?",
    "cp.async.bulk.prefetch.L2.global.{L2::cache_hint}?",
    "cp.async.bulk.commit_group",
    "cp.async.bulk.wait_group.{read}?",
    "cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes\
     .{and.b32,or.b32,xor.b32,add.u32,add.s32,add.u64,inc.u32,dec.u32,min.u32,min.s32,max.u32,max.s32}",
    "cp.reduce.async.bulk.global.shared::cta.bulk_group.{L2::cache_hint}?\
     .{and.b32,and.b64,or.b32,or.b64,xor.b32,xor.b64,add.u32,add.s32,add.u64,add.f32,add.f64,add.noftz.f16,add.noftz.bf16,\
     inc.u32,dec.u32,min.u32,min.s32,min.u64,min.s64,min.f16,min.bf16,max.u32,max.s32,max.u64,max.s64,max.f16,max.bf16}",
    "cp.async.bulk.tensor.{1d,2d,3d,4d,5d}.shared::cta.global.{tile}?.mbarrier::complete_tx::bytes.{L2::cache_hint}?",
    "cp.async.bulk.tensor.{1d,2d,3d,4d,5d}.shared::cluster.global.{tile}?.mbarrier::complete_tx::bytes\
     .{multicast::cluster}?.{L2::cache_hint}?",
    "cp.async.bulk.tensor.{1d,2d,3d,4d,5d}.global.shared::cta.{tile}?.bulk_group.{L2::cache_hint}?",
    "cp.async.bulk.prefetch.tensor.{1d,2d,3d,4d,5d}.L2.global.{tile}?.{L2::cache_hint}?",
    "cp.reduce.async.bulk.tensor.{1d,2d,3d,4d,5d}.global.shared::cta.{add,min,max,inc,dec,and,or,xor}.{tile}?.bulk_group\
     .{L2::cache_hint}?",
    "prefetch.{const,param}?.tensormap",
    "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.{cta,cluster,gpu,sys}.sync.aligned",
    "tensormap.replace.tile.{global_address,global_stride}.{global,shared::cta}?.b1024.b64",
    "tensormap.replace.tile\
     .{rank,box_dim,global_dim,element_stride,elemtype,interleave_layout,swizzle_mode,fill_mode}\
     .{global,shared::cta}?.b1024.b32",
    "st.async.{weak}?.shared::cluster.mbarrier::complete_tx::bytes.{v2,v4}?.{b32,u32,s32,f32}",
    "st.async.{weak}?.shared::cluster.mbarrier::complete_tx::bytes.{v2}?.{b64,u64,s64,f64}",
    "red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes\
     .{and.b32,or.b32,xor.b32,add.u32,add.s32,add.u64,inc.u32,dec.u32,min.u32,min.s32,max.u32,max.s32}",
    "ldmatrix.sync.aligned.m8n8.{x1,x2,x4}.{trans}?.{shared,shared::cta}?.b16",
    "stmatrix.sync.aligned.m8n8.{x1,x2,x4}.{trans}?.{shared,shared::cta}?.b16",
    "movmatrix.sync.aligned.m8n8.trans.b16",
    "mma.sync.aligned.{m16n8k8,m16n8k16}.row.col.f32.f16.f16.f32",
    "mma.sync.aligned.{m16n8k8,m16n8k16}.row.col.f16.f16.f16.f16",
    "mma.sync.aligned.{m16n8k8,m16n8k16}.row.col.f32.bf16.bf16.f32",
    "mma.sync.aligned.{m16n8k4,m16n8k8}.row.col.f32.tf32.tf32.f32",
    "mma.sync.aligned.{m16n8k16,m16n8k32}.row.col.f32.{e4m3,e5m2}.{e4m3,e5m2}.f32",
    "mma.sync.aligned.{m16n8k16,m16n8k32}.row.col.f16.{e4m3,e5m2}.{e4m3,e5m2}.f16",
    "mma.sync.aligned.m16n8k32.row.col.kind::f8f6f4.f32.{e4m3,e5m2}.{e4m3,e5m2}.f32",
    "mma.sync.aligned.m16n8k32.row.col.kind::f8f6f4.f16.{e4m3,e5m2}.{e4m3,e5m2}.f16",
    "mma.sync.aligned.{m8n8k16,m16n8k16,m16n8k32}.row.col.{satfinite}?.s32.{u8,s8}.{u8,s8}.s32",
    "mma.sync.aligned.{m8n8k32,m16n8k32,m16n8k64}.row.col.{satfinite}?.s32.{u4,s4}.{u4,s4}.s32",
    "mma.sync.aligned.{m8n8k128,m16n8k128,m16n8k256}.row.col.s32.b1.b1.s32.{xor,and}.popc",
    "wgmma.{fence,commit_group,wait_group}.sync.aligned",
    "wgmma.mma_async.sync.aligned.{\
     m64n8k16,m64n16k16,m64n24k16,m64n32k16,m64n40k16,m64n48k16,m64n56k16,m64n64k16,m64n72k16,m64n80k16,m64n88k16,\
     m64n96k16,m64n104k16,m64n112k16,m64n120k16,m64n128k16,m64n136k16,m64n144k16,m64n152k16,m64n160k16,m64n168k16,\
     m64n176k16,m64n184k16,m64n192k16,m64n200k16,m64n208k16,m64n216k16,m64n224k16,m64n232k16,m64n240k16,m64n248k16,\
     m64n256k16}\
     .{f32,f16}.f16.f16",
    "wgmma.mma_async.sync.aligned.{\
     m64n8k16,m64n16k16,m64n24k16,m64n32k16,m64n40k16,m64n48k16,m64n56k16,m64n64k16,m64n72k16,m64n80k16,m64n88k16,\
     m64n96k16,m64n104k16,m64n112k16,m64n120k16,m64n128k16,m64n136k16,m64n144k16,m64n152k16,m64n160k16,m64n168k16,\
     m64n176k16,m64n184k16,m64n192k16,m64n200k16,m64n208k16,m64n216k16,m64n224k16,m64n232k16,m64n240k16,m64n248k16,\
     m64n256k16}\
     .f32.bf16.bf16",
    "wgmma.mma_async.sync.aligned.{\
     m64n8k8,m64n16k8,m64n24k8,m64n32k8,m64n40k8,m64n48k8,m64n56k8,m64n64k8,m64n72k8,m64n80k8,m64n88k8,m64n96k8,\
     m64n104k8,m64n112k8,m64n120k8,m64n128k8,m64n136k8,m64n144k8,m64n152k8,m64n160k8,m64n168k8,m64n176k8,m64n184k8,\
     m64n192k8,m64n200k8,m64n208k8,m64n216k8,m64n224k8,m64n232k8,m64n240k8,m64n248k8,m64n256k8}\
     .f32.tf32.tf32",
    "wgmma.mma_async.sync.aligned.{\
     m64n8k32,m64n16k32,m64n24k32,m64n32k32,m64n40k32,m64n48k32,m64n56k32,m64n64k32,m64n72k32,m64n80k32,m64n88k32,\
     m64n96k32,m64n104k32,m64n112k32,m64n120k32,m64n128k32,m64n136k32,m64n144k32,m64n152k32,m64n160k32,m64n168k32,\
     m64n176k32,m64n184k32,m64n192k32,m64n200k32,m64n208k32,m64n216k32,m64n224k32,m64n232k32,m64n240k32,m64n248k32,\
     m64n256k32}\
     .{f32,f16}.{e4m3,e5m2}.{e4m3,e5m2}",
    "wgmma.mma_async.sync.aligned.{\
     m64n8k32,m64n16k32,m64n24k32,m64n32k32,m64n48k32,m64n64k32,m64n80k32,m64n96k32,m64n112k32,m64n128k32,m64n144k32,\
     m64n160k32,m64n176k32,m64n192k32,m64n208k32,m64n224k32,m64n240k32,m64n256k32}\
     .s32.{s8,u8}.{s8,u8}.{satfinite}?",
    "wgmma.mma_async.sync.aligned.{\
     m64n8k32,m64n16k32,m64n24k32,m64n32k32,m64n48k32,m64n64k32,m64n80k32,m64n96k32,m64n112k32,m64n128k32,m64n144k32,\
     m64n160k32,m64n176k32,m64n192k32,m64n208k32,m64n224k32,m64n240k32,m64n256k32}\
     .satfinite.s32.{s8,u8}.{s8,u8}",
    "wgmma.mma_async.sync.aligned.{\
     m64n8k256,m64n16k256,m64n24k256,m64n32k256,m64n48k256,m64n64k256,m64n80k256,m64n96k256,m64n112k256,m64n128k256,\
     m64n144k256,m64n160k256,m64n176k256,m64n192k256,m64n208k256,m64n224k256,m64n240k256,m64n256k256}\
     .s32.b1.b1.and.popc",
    "setmaxnreg.{inc,dec}.sync.aligned.u32",
    "wmma.load.{a,b}.sync.aligned.{row,col}.{m16n16k16,m8n32k16,m32n8k16}.{global,shared,shared::cta}?\
     .{f16,bf16,s8,u8}",
    "wmma.load.{a,b}.sync.aligned.{row,col}.m16n16k8.{global,shared,shared::cta}?.tf32",
    "wmma.load.c.sync.aligned.{row,col}.{m16n16k16,m8n32k16,m32n8k16}.{global,shared,shared::cta}?.{f16,f32,s32}",
    "wmma.load.c.sync.aligned.{row,col}.m16n16k8.{global,shared,shared::cta}?.f32",
    "wmma.store.d.sync.aligned.{row,col}.{m16n16k16,m8n32k16,m32n8k16}.{global,shared,shared::cta}?.{f16,f32,s32}",
    "wmma.store.d.sync.aligned.{row,col}.m16n16k8.{global,shared,shared::cta}?.f32",
    "wmma.mma.sync.aligned.{row,col}.{row,col}.{m16n16k16,m8n32k16,m32n8k16}.{f16,f32}.{f16,f32}",
    "wmma.mma.sync.aligned.{row,col}.{row,col}.{m16n16k16,m8n32k16,m32n8k16}.f32.bf16.bf16.f32",
    "wmma.mma.sync.aligned.{row,col}.{row,col}.m16n16k8.f32.tf32.tf32.f32",
    "wmma.mma.sync.aligned.{row,col}.{row,col}.{m16n16k16,m8n32k16,m32n8k16}.s32.s8.s8.s32.{satfinite}?",
    "wmma.mma.sync.aligned.{row,col}.{row,col}.{m16n16k16,m8n32k16,m32n8k16}.s32.u8.u8.s32.{satfinite}?",
    "mov.{b16,b32,b64,u16,u32,u64,s16,s32,s64,f32,f64}",
    "cvta.{to}?.{global,const,shared,shared::cta,shared::cluster,local,param}.u64",
    "cvt.{rni,rzi,rmi,rpi}.{ftz}?.sat.{u8,u16,u32,u64,s8,s16,s32,s64}.f32",
    "cvt.{rni,rzi,rmi,rpi}.sat.{u8,u16,u32,u64,s8,s16,s32,s64}.{f16,f64}",
    "isspacep.{global,local,shared,shared::cta,shared::cluster,param,param::entry}",
    "setp.{eq,ne,lt,le,gt,ge}.{and,or,xor}?.{u16,u32,u64,s16,s32,s64}",
    "setp.{lo,ls,hi,hs}.{and,or,xor}?.{u16,u32,u64}",
    "setp.{eq,ne}.{and,or,xor}?.{b16,b32,b64}",
    "setp.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.{and,or,xor}?.{ftz}?.f32",
    "setp.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.{and,or,xor}?.{f64,f16,bf16}",
    "set.{eq,ne,lt,le,gt,ge}.{and,or,xor}?.{u32,s32,f32}.{u16,u32,u64,s16,s32,s64}",
    "set.{lo,ls,hi,hs}.{and,or,xor}?.{u32,s32,f32}.{u16,u32,u64}",
    "set.{eq,ne}.{and,or,xor}?.{u32,s32,f32}.{b16,b32,b64}",
    "set.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.{and,or,xor}?.{ftz}?.{u32,s32,f32}.f32",
    "set.{eq,ne,lt,le,gt,ge,equ,neu,ltu,leu,gtu,geu,num,nan}.{and,or,xor}?.{u32,s32,f32}.{f64,f16,bf16}",
    "lop3.{or,and}.b32",
    "{vadd2,vsub2,vavrg2,vabsdiff2,vmin2,vmax2}.{u32,s32}.{u32,s32}.{u32,s32}.{sat,add}?",
    "{vadd4,vsub4,vavrg4,vabsdiff4,vmin4,vmax4}.{u32,s32}.{u32,s32}.{u32,s32}.{sat,add}?",
    "{add,addc,sub,subc}.cc.{u32,s32,u64,s64}",
    "{addc,subc}.{u32,s32,u64,s64}",
    "{mad,madc}.{lo,hi}.cc.{u32,s32,u64,s64}",
    "madc.{lo,hi}.{u32,s32,u64,s64}",
];

/// The words that are hints at a place where nothing else may stand but another hint, or nothing: of caches, and promises
/// that lanes and blocks keep anyway. The decoder leaves them out, but for `.L2::cache_hint`, after which a policy is among
/// the operands, so they change nothing that a kernel can see.
const HINTS: &[&str] = &[
    "ca",
    "cg",
    "cs",
    "lu",
    "cv",
    "wb",
    "wt",
    "L1::evict_normal",
    "L1::evict_unchanged",
    "L1::evict_first",
    "L1::evict_last",
    "L1::no_allocate",
    "L2::evict_normal",
    "L2::evict_first",
    "L2::evict_last",
    "L2::cache_hint",
    "L2::64B",
    "L2::128B",
    "L2::256B",
    "uni",
    "aligned",
    "cta",
];

/// The modifiers of an instruction that has a decoder of its own, without hints.
pub(super) fn without_hints<'m>(root: &str, modifiers: &[&'m str]) -> Option<Vec<&'m str>> {
    SPELLINGS.iter().find_map(|spelling| {
        let (mut places, mut meant) = (Places(spelling), Vec::new());
        let here = places.next().is_some_and(|(roots, _)| alternatives(roots).any(|name| name == root));
        (here && matches(places, modifiers, &mut meant)).then_some(meant)
    })
}

/// The places of a spelling: what may stand there, and whether something has to.
#[derive(Clone, Copy)]
pub(super) struct Places<'a>(pub(super) &'a str);

impl<'a> Iterator for Places<'a> {
    type Item = (&'a str, bool);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.strip_prefix('.').unwrap_or(self.0);
        if rest.is_empty() {
            return None;
        }
        let end = match rest.strip_prefix('{') {
            Some(braced) => braced.find('}').map_or(rest.len(), |end| end + 2),
            None => rest.find('.').unwrap_or(rest.len()),
        };
        let (place, rest) = rest.split_at(end);
        let optional = rest.strip_prefix('?');
        self.0 = optional.unwrap_or(rest);
        Some((place, optional.is_some()))
    }
}

/// What may stand at a place.
pub(super) fn alternatives(place: &str) -> impl Iterator<Item = &str> {
    place.trim_matches(|mark| mark == '{' || mark == '}').split(',')
}

/// Whether the modifiers are spelled so. `meant` becomes those that are no hints.
fn matches<'m>(mut places: Places<'_>, modifiers: &[&'m str], meant: &mut Vec<&'m str>) -> bool {
    let Some((place, optional)) = places.next() else { return modifiers.is_empty() };
    let hint = optional && alternatives(place).all(|word| HINTS.contains(&word));
    let before = meant.len();
    let here = alternatives(place).any(|words| {
        let length = words.split('.').count();
        let stands = modifiers.len() >= length && words.split('.').zip(modifiers).all(|(word, found)| word == *found);
        meant.truncate(before);
        if stands && (!hint || words == "L2::cache_hint") {
            meant.extend_from_slice(&modifiers[..length]);
        }
        stands && matches(places, &modifiers[length..], meant)
    });
    if here || !optional {
        return here;
    }
    meant.truncate(before);
    matches(places, modifiers, meant)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fmt::Write;
    use std::path::Path;

    use super::super::special::{FIXED, REGISTERS};
    use super::*;
    use crate::Device;
    use crate::ops::clock::CLOCKS;
    use crate::ops::forms;

    /// Whether an instruction decodes with some operands.
    fn decodes(opcode: &str, operands: &str) -> bool {
        let text = format!(
            ".version 9.0\n.target sm_100\n.address_size 64\n.func f() {{ ret; }}\n.visible .entry k(.param .u64 p0)\n{{\n\
             .reg .pred %p<9>;\n.reg .b32 %r<140>;\n.reg .b64 %rd<20>;\n.param .align 16 .b8 q[32];\n\
             TARGETS: .branchtargets L;\nL: {opcode} {operands};\n}}"
        );
        Device::new(1 << 20, 1).load(&text).is_ok()
    }

    /// Operands that instructions take whose opcodes begin so.
    fn operands(opcode: &str) -> Vec<String> {
        let vector = |register: &str, count: usize| {
            let names: Vec<String> = (0..count).map(|n| format!("{register}{n}")).collect();
            format!("{{{}}}", names.join(", "))
        };
        let registers = ["%r", "%rd"].into_iter();
        let values: Vec<String> = registers
            .flat_map(|name| [format!("{name}1"), vector(name, 2), vector(name, 4), vector(name, 8)])
            .collect();
        let (root, list) = (opcode.split('.').next().unwrap_or_default(), |all: &[&str]| {
            all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()
        });
        let each = |make: &dyn Fn(&str) -> String| values.iter().map(|value| make(value)).collect::<Vec<_>>();
        match root {
            "ld" | "ldu" => ["[%rd9]", "[%rd9], %rd8", "[q]"].map(|at| each(&|v| format!("{v}, {at}"))).concat(),
            "st" => {
                let mut all = [each(&|v| format!("[%rd9], {v}")), each(&|v| format!("[%rd9], {v}, %rd8"))].concat();
                all.extend(each(&|v| format!("[q], {v}")));
                all.extend(each(&|v| format!("[%r9], {v}, [%r8]")));
                all
            }
            "atom" => {
                let mut all = each(&|v| format!("{v}, [%rd9], {v}"));
                all.extend(each(&|v| format!("{v}, [%rd9], {v}, %rd8")));
                all.extend(each(&|v| format!("{v}, [%rd9], {v}, {v}")));
                all
            }
            "red" => [
                each(&|v| format!("[%rd9], {v}")),
                each(&|v| format!("[%rd9], {v}, %rd8")),
                each(&|v| format!("[%r9], {v}, [%r8]")),
            ]
            .concat(),
            "ldmatrix" => ["{%r1}", "{%r1, %r2}", "{%r1, %r2, %r3, %r4}"].map(|v| format!("{v}, [%r9]")).to_vec(),
            "stmatrix" => ["{%r1}", "{%r1, %r2}", "{%r1, %r2, %r3, %r4}"].map(|v| format!("[%r9], {v}")).to_vec(),
            "mma" | "wmma" => {
                let counts = [1, 2, 4, 8];
                let sums = |a: usize, b: usize, d: usize| {
                    [vector("%r", d), vector("%r", a), vector("%r", b), vector("%r", d)].join(", ")
                };
                let mut all: Vec<String> = Vec::new();
                for a in counts {
                    all.push(format!("{}, [%rd9]", vector("%r", a)));
                    all.push(format!("[%rd9], {}, %r1", vector("%r", a)));
                    for b in counts {
                        all.extend(counts.map(|d| sums(a, b, d)));
                        all.push([vector("%r", 4), vector("%r", a), vector("%r", b), vector("%r", 8)].join(", "));
                        all.push([vector("%r", 8), vector("%r", a), vector("%r", b), vector("%r", 4)].join(", "));
                    }
                }
                all
            }
            "bra" => list(&["L"]),
            "brx" => list(&["%r1, TARGETS"]),
            "call" => list(&["f"]),
            "cp" => list(&[
                "[%r1], [%rd1], 16",
                "[%r1], [%rd1], 16, %rd2",
                "[%rd1], [%r1], %r2",
                "[%rd1], [%r1], %r2, %rd2",
                "[%r1], [%rd1], %r2, [%r3]",
                "[%r1], [%rd1], %r2, [%r3], %r4",
                "[%r1], [%rd1], %r2, [%r3], %rd4",
                "[%r1], [%rd1], %r2, [%r3], %r4, %rd4",
                "[%r1], [%rd1, {%r1}], [%r3]",
                "[%r1], [%rd1, {%r1, %r2}], [%r3]",
                "[%r1], [%rd1, {%r1, %r2, %r3}], [%r3]",
                "[%r1], [%rd1, {%r1, %r2, %r3, %r4}], [%r3]",
                "[%r1], [%rd1, {%r1, %r2, %r3, %r4, %r5}], [%r3]",
                "[%r1], [%rd1, {%r1}], [%r3], %r4",
                "[%r1], [%rd1, {%r1}], [%r3], %rd4",
                "[%r1], [%rd1, {%r1}], [%r3], %r4, %rd4",
                "[%rd1, {%r1}], [%r1]",
                "[%rd1, {%r1, %r2}], [%r1]",
                "[%rd1, {%r1, %r2, %r3}], [%r1]",
                "[%rd1, {%r1, %r2, %r3, %r4}], [%r1]",
                "[%rd1, {%r1, %r2, %r3, %r4, %r5}], [%r1]",
                "[%rd1, {%r1}], [%r1], %rd2",
                "[%rd1, {%r1}]",
                "[%rd1, {%r1, %r2}]",
                "[%rd1, {%r1, %r2, %r3}]",
                "[%rd1, {%r1, %r2, %r3, %r4}]",
                "[%rd1, {%r1, %r2, %r3, %r4, %r5}]",
                "[%rd1, {%r1}], %rd2",
                "[%rd1], %r2",
                "[%rd1], %r2, %rd3",
                "[%r1]",
                "[%rd1]",
                "3",
                "",
            ]),
            "wgmma" => {
                let mut all = list(&["", "1"]);
                for count in [2, 4].into_iter().chain((8..=128).step_by(4)) {
                    let sums = vector("%r", count);
                    all.extend(["", ", 1, 1", ", 1, -1, 0, 1"].map(|end| format!("{sums}, %rd1, %rd2, %p1{end}")));
                }
                all
            }
            "setmaxnreg" => list(&["40"]),
            "tensormap" => list(&["[%rd1], [%r1], 128", "[%rd1], %r1", "[%rd1], %rd2", "[%rd1], 0, %r1"]),
            "mbarrier" => list(&[
                "[%rd1]",
                "[%rd1], %r1",
                "_, [%rd1]",
                "_, [%rd1], 1",
                "%p1, [%rd1], %r1",
                "%p1, [%rd1], %rd2",
                "%r1, %rd2",
            ]),
            "bar" | "barrier" => list(&["", "0", "0, 32", "%r1, 0, %p1", "%p1, 0, %p2", "-1"]),
            "fence" => list(&["", "[%rd1], 128"]),
            "createpolicy" => list(&["%rd1, 0f3F800000", "%rd1, [%rd2], 1, 2", "%rd1, %rd2"]),
            _ => list(&[
                "",
                "%r1",
                "1",
                "[%rd1]",
                "[%rd1], 128",
                "%r1, %r2",
                "%rd1, %rd2",
                "%p1, %rd2",
                "%r1|%p1, -1",
                "%r1|%p1, %r2, -1",
                "%r1|%p1, %rd2, -1",
                "%r1, %r2, %r3",
                "%r1, %rd2, %r3",
                "%rd1, %r2",
                "%r1, %rd2",
                "%r1, %p2, %r3",
                "%p1, %p2, %r3",
                "%rd1, %rd2, %rd3",
                "%r1, %r2, 1, 31, -1",
                "%p1|%p2, %r1, %r2",
                "%p1|%p2, %rd1, %rd2",
                "%p1, %r1, %r2, !%p3",
                "%p1, %rd1, %rd2, %p3",
                "%r1, %rd1, %rd2",
                "%rd1, %rd2, %r3",
                "%r1, %r2, %r3, %p1",
                "%r1, %rd1, %rd2, !%p1",
                "%r1, %r2, %r3, %r4",
                "%rd1, %rd2, %rd3, %rd4",
                "%r1|%p1, %r2, %r3, %r4, 7, %p2",
            ]),
        }
    }

    /// The opcodes of a spelling with `wanted` at place `at`, the simplest first: at most two other places are not as
    /// they are by default.
    fn opcodes(places: &[Vec<&str>], at: usize, wanted: &str) -> Vec<String> {
        let text = |change: &[(usize, &str)]| {
            let of = |n: usize| change.iter().find(|(place, _)| *place == n).map_or(places[n][0], |(_, word)| word);
            let words = (0..places.len()).map(|n| if n == at { wanted } else { of(n) });
            words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(".")
        };
        let single = || (0..places.len()).flat_map(|n| places[n].iter().map(move |word| (n, *word)));
        let mut all = vec![text(&[])];
        all.extend(single().map(|change| text(&[change])));
        for first in single() {
            all.extend(single().filter(|second| second.0 > first.0).map(|second| text(&[first, second])));
        }
        all
    }

    /// What is listed is decoded: each word at each place, in an instruction that has it.
    #[test]
    fn what_is_listed_is_decoded() {
        for spelling in SPELLINGS {
            let places: Vec<Vec<&str>> = Places(spelling)
                .map(|(place, optional)| optional.then_some("").into_iter().chain(alternatives(place)).collect())
                .collect();
            for (at, words) in places.iter().enumerate() {
                for word in words {
                    let tried = opcodes(&places, at, word);
                    let mut known = BTreeMap::new();
                    let found = tried.iter().any(|opcode| {
                        let all = known
                            .entry(opcode.split('.').next().unwrap_or_default())
                            .or_insert_with(|| operands(opcode));
                        all.iter().any(|operands| decodes(opcode, operands))
                    });
                    assert!(found, "`{word}` at place {at} of {spelling} does not decode");
                }
            }
        }
    }

    #[test]
    fn what_is_not_listed_is_not_decoded() {
        let supported = |opcode: &str| {
            let (root, rest) = opcode.split_once('.').unwrap_or((opcode, ""));
            let modifiers: Vec<&str> = rest.split('.').filter(|word| !word.is_empty()).collect();
            without_hints(root, &modifiers).map(|meant| meant.join("."))
        };
        for opcode in ["ld.global.nc.L1::no_allocate.L2::256B.v4.f32", "exit", "mad.lo.cc.u32", "vmax4.u32.s32.s32.sat"]
        {
            assert!(supported(opcode).is_some(), "{opcode}");
        }
        for (opcode, meant) in [
            ("ld.global.nc.L1::no_allocate.L2::256B.v4.f32", "global.nc.v4.f32"),
            ("ld.relaxed.cta.shared::cta.u32", "relaxed.cta.shared::cta.u32"),
            ("bar.cta.red.popc.u32", "red.popc.u32"),
            ("barrier.cta.sync.aligned", "sync"),
            ("fence.acq_rel.cta", "acq_rel.cta"),
            ("cp.async.ca.shared.global.L2::cache_hint.L2::128B", "async.ca.shared.global.L2::cache_hint"),
            ("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32", "sync.aligned.m16n8k8.row.col.f32.f16.f16.f32"),
        ] {
            assert_eq!(supported(opcode).as_deref(), Some(meant), "{opcode}");
        }
        for opcode in [
            "ld.global.f32.v3",
            "ld.global",
            "ld.global.u32.u32",
            "mma.sync.aligned.m16n8k16.row.row.f32.f16.f16.f32",
            "mma.sync.aligned.m16n8k8.row.col.s32.s8.s8.s32",
            "cp.async.ca.global.shared",
            "bar.sync.red.popc.u32",
            "exit.uni",
            "frobnicate",
        ] {
            assert_eq!(supported(opcode), None, "{opcode}");
            assert!(operands(opcode).iter().all(|operands| !decodes(opcode, operands)), "{opcode}");
        }
    }

    /// Sets of words that stand in the same surroundings, joined: `add.{u32,s32}`.
    fn joined(opcodes: BTreeSet<String>) -> Vec<String> {
        let braced = |words: &BTreeSet<String>| match words.first() {
            Some(only) if words.len() == 1 => only.clone(),
            _ => format!("{{{}}}", words.iter().cloned().collect::<Vec<_>>().join(",")),
        };
        // the types that come with each beginning, then the beginnings that have the same types
        let mut types = BTreeMap::<String, BTreeSet<String>>::new();
        for opcode in opcodes {
            let (start, ty) = opcode.rsplit_once('.').unwrap_or((&opcode, ""));
            types.entry(start.to_owned()).or_default().insert(ty.to_owned());
        }
        let mut starts = BTreeMap::<String, BTreeSet<String>>::new();
        for (start, types) in types {
            let (root, middle) = start.split_once('.').unwrap_or((&start, ""));
            starts.entry(format!("{root} {}", braced(&types))).or_default().insert(middle.to_owned());
        }
        let line = |(key, middles): (String, BTreeSet<String>)| {
            let (root, types) = key.split_once(' ').unwrap_or((&key, ""));
            let optional = middles.contains("");
            let middles: BTreeSet<String> = middles.into_iter().filter(|middle| !middle.is_empty()).collect();
            let middle = match (middles.len(), optional) {
                (0, _) => String::new(),
                (1, false) => format!(".{}", braced(&middles)),
                (1, true) => format!(".{{{}}}?", braced(&middles)),
                (_, optional) => format!(".{}{}", braced(&middles), if optional { "?" } else { "" }),
            };
            format!("{root}{middle}.{types}")
        };
        starts.into_iter().map(line).collect()
    }

    fn page() -> String {
        let mut page = String::from(
            "# What of PTX the emulator runs\n\n\
             Made by the emulator's tests from the tables that it decodes with; `WARPWRIGHT_GOLDENS=write cargo test -p\n\
             warpwright-emulator` writes it. What is not here is an error when a module is loaded.\n\n\
             `{a,b}` is one of these, and `{a,b}?` one of these or nothing. Modifiers may come in other orders, as long as\n\
             types, spaces and layouts keep theirs. Types of the same width are the same to\n\
             registers. Orders, scopes and caches are taken as they are spelled; how they act is in the documentation of\n\
             the emulator.\n\n## Instructions with operands of their own\n\n```text\n",
        );
        for spelling in SPELLINGS {
            let _ = writeln!(page, "{spelling}");
        }
        page += "```\n\n## Instructions from registers to registers\n\n```text\n";
        let mut roots = BTreeMap::<&str, BTreeSet<String>>::new();
        for form in forms() {
            let root = form.opcode.split('.').next().unwrap_or_default();
            roots.entry(root).or_default().insert(form.opcode.to_owned());
        }
        for opcodes in roots.into_values() {
            for line in joined(opcodes) {
                let _ = writeln!(page, "{line}");
            }
        }
        page += "```\n\n## Hints\n\n\
             Where no other word may stand, and where none has to, these change nothing that a kernel can see.\n\n```text\n";
        for hints in HINTS.chunks(7) {
            let _ = writeln!(page, "{}", hints.join(" "));
        }
        page += "```\n\n## Special registers\n\n```text\n";
        let clocks = CLOCKS.iter().map(|(name, ..)| *name);
        let fixed = FIXED.iter().map(|(name, ..)| *name);
        let own = REGISTERS.iter().map(|(name, _)| *name).filter(|name| !name.starts_with("%envreg"));
        for name in own.chain(fixed).chain(["%envreg0 to %envreg31"]).chain(clocks) {
            let _ = writeln!(page, "{name}");
        }
        page + "```\n"
    }

    #[test]
    fn the_documentation_says_what_is_supported() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ptx-support.md");
        let expected = page();
        if std::env::var_os("WARPWRIGHT_GOLDENS").is_some_and(|value| value == "write") {
            std::fs::write(&path, &expected).expect("the documentation can be written");
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == expected, "docs/ptx-support.md is not current: set WARPWRIGHT_GOLDENS=write");
    }

    #[test]
    fn special_registers_are_read() {
        for (name, ..) in REGISTERS {
            assert!(decodes("mov.u32", &format!("%r1, {name}")), "{name}");
        }
        for name in ["%smid", "%clock", "%globaltimer_lo", "%envreg31"] {
            assert!(decodes("mov.u32", &format!("%r1, {name}")), "{name}");
        }
        for name in ["%clock64", "%globaltimer", "%current_graph_exec"] {
            assert!(decodes("mov.u64", &format!("%rd1, {name}")) && !decodes("mov.u32", &format!("%r1, {name}")));
        }
        assert!(!decodes("add.u32", "%r1, %clock, 1") && !decodes("mov.u32", "%r1, %envreg32"));
    }
}
